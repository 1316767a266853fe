package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	// guestPort is the virtio-serial port that the guest looks for.
	guestPort = "vic.guest.0"
	// consoleRingBytes is what QEMU itself keeps of the console between our reads. It is a power of two.
	consoleRingBytes = 256 << 10
	// tcgBufferMiB bounds what TCG keeps of translated code; QEMU's own default is up to 1 GiB a VM.
	tcgBufferMiB = 128

	// sandbox is QEMU's seccomp filter: no new processes, no other user, no scheduling or resource calls, no obsolete calls.
	sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

	kernelArgs = "console=ttyS0 panic=-1 reboot=t quiet loglevel=3 no_timer_check"
	// tcgKernelArgs make a translated boot 0.3 s faster. They take away defences that TCG's lack of speculation makes
	// pointless, so no hardware accelerator gets them.
	tcgKernelArgs = " nokaslr mitigations=off init_on_alloc=0 cryptomgr.notests"
)

// bootArgs is the kernel's command line.
func bootArgs(a Accel) string {
	if a == AccelTCG {
		return kernelArgs + tcgKernelArgs
	}
	return kernelArgs
}

// accelArgs choose the accelerator and the processor that fits it.
func accelArgs(a Accel) []string {
	if a == AccelTCG {
		return []string{"-accel", fmt.Sprintf("tcg,tb-size=%d", tcgBufferMiB), "-cpu", "max"}
	}
	return []string{"-accel", "kvm", "-cpu", "host"}
}

// commandLine is a QEMU's arguments, and the files that it inherits from descriptor 3 on.
type commandLine struct {
	args  []string
	files []*os.File
}

func (c *commandLine) add(args ...string) { c.args = append(c.args, args...) }

// pass gives QEMU a file and returns the descriptor that it has there. The command line owns the file from now on.
func (c *commandLine) pass(f *os.File) int {
	c.files = append(c.files, f)
	return 2 + len(c.files)
}

// close closes what QEMU has its own descriptors of.
func (c *commandLine) close() {
	for _, f := range c.files {
		_ = f.Close() // QEMU's copies are what counts
	}
}

// vmParts are all that the command line of one VM is made of. The files are passed to QEMU.
type vmParts struct {
	name   string
	record *record
	accel  Accel

	kernel, initrd *os.File
	alive          *os.File // its lock says that QEMU lives
	qmp, guest     *os.File // bound sockets; QEMU itself listens, so that a peer sees its process
	disks          []*os.File
	taps           []*os.File // one for each NIC; none for networks in user mode
}

// newCommandLine takes the files of parts over.
func newCommandLine(parts vmParts) *commandLine {
	c := &commandLine{}
	c.pass(parts.alive)
	c.addHardware(parts)
	c.addChannels(parts)
	for i, d := range parts.record.Spec.Disks {
		c.addDisk(d, i+1, parts.disks[i], parts.record.Spec.Boot)
	}
	for i, n := range parts.record.Spec.NICs {
		var tap *os.File
		if parts.taps != nil {
			tap = parts.taps[i]
		}
		c.addNIC(n, i, tap)
	}
	return c
}

func (c *commandLine) addHardware(parts vmParts) {
	size := parts.record.Spec.Size
	c.add("-name", "guest="+parts.name, "-uuid", parts.record.UUID,
		"-machine", "pc,usb=off,vmport=off,dump-guest-core=off,mem-merge=off")
	c.add(accelArgs(parts.accel)...)
	c.add("-smp", strconv.Itoa(size.VCPUs), "-m", fmt.Sprintf("%dM", (size.MemoryBytes+mib-1)/mib),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-no-shutdown", "-sandbox", sandbox,
		"-device", "pvpanic",
		"-object", "rng-builtin,id=entropy", "-device", "virtio-rng-pci,rng=entropy",
		"-device", "virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on",
		"-device", "virtio-scsi-pci,id="+scsiBus)
	if parts.record.Spec.Boot.HasGuest() {
		c.add("-kernel", fmt.Sprintf("/dev/fd/%d", c.pass(parts.kernel)),
			"-initrd", fmt.Sprintf("/dev/fd/%d", c.pass(parts.initrd)),
			"-append", bootArgs(parts.accel))
	}
}

func (c *commandLine) addChannels(parts vmParts) {
	c.add("-chardev", fmt.Sprintf("ringbuf,id=%s,size=%d", consoleRing, consoleRingBytes), "-serial", "chardev:"+consoleRing,
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", c.pass(parts.qmp)), "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-serial-pci")
	if !parts.record.Spec.Boot.HasGuest() {
		return
	}
	c.add("-chardev", fmt.Sprintf("socket,id=guest,fd=%d,server=on,wait=off", c.pass(parts.guest)),
		"-device", "virtserialport,chardev=guest,name="+guestPort)
}

func (c *commandLine) addDisk(d portlayer.Disk, set int, f *os.File, boot portlayer.Boot) {
	device := diskDevice(d)
	if boot.Kind == portlayer.BootDisk && boot.Disk == d.Serial {
		device = append(device, property{"bootindex", 0})
	}
	c.add("-add-fd", fmt.Sprintf("fd=%d,set=%d,opaque=%s", c.pass(f), set, diskID(d.Serial)),
		"-blockdev", flatten(blockNode(d, set)), "-device", "scsi-hd,"+flatten(device))
}

func (c *commandLine) addNIC(n portlayer.NIC, i int, tap *os.File) {
	id := fmt.Sprintf("net%d", i)
	if tap != nil {
		c.add("-netdev", fmt.Sprintf("tap,id=%s,fd=%d,vhost=off", id, c.pass(tap)))
	} else {
		address, gateway := n.IPv4()
		c.add("-netdev", fmt.Sprintf("user,id=%s,ipv6=off,net=%s,host=%s", id, address.Masked(), gateway))
	}
	device := fmt.Sprintf("virtio-net-pci,netdev=%s,mac=%s,romfile=", id, n.MAC)
	if n.MTU > 0 {
		device += fmt.Sprintf(",host_mtu=%d", n.MTU)
	}
	c.add("-device", device)
}

const (
	scsiBus     = "scsi"
	consoleRing = "console"
	diskPrefix  = "disk-"
)

// diskID names a disk's block node, device and file descriptors. QEMU's node names are shorter than a serial may be.
func diskID(serial string) string {
	sum := sha256.Sum256([]byte(serial))
	return diskPrefix + hex.EncodeToString(sum[:8])
}

// property is a key and value of a QEMU object. QMP takes it typed; the command line as text.
type property struct {
	key   string
	value any
}

// blockNode is the host's side of a disk whose file is in descriptor set number set.
func blockNode(d portlayer.Disk, set int) []property {
	node := []property{
		{"node-name", diskID(d.Serial)},
		{"driver", "raw"},
		{"read-only", d.Kind == portlayer.DiskImage},
		{"file.driver", "file"},
		{"file.filename", fmt.Sprintf("/dev/fdset/%d", set)},
	}
	if d.Kind == portlayer.DiskScratch {
		node = append(node, property{"discard", "unmap"}, property{"file.discard", "unmap"}, property{"detect-zeroes", "unmap"})
	}
	return node
}

// diskDevice is the guest's side of a disk, without its driver.
func diskDevice(d portlayer.Disk) []property {
	id := diskID(d.Serial)
	return []property{
		{"bus", scsiBus + ".0"}, {"drive", id}, {"id", id}, {"serial", d.Serial}, {"share-rw", d.Kind == portlayer.DiskImage},
	}
}

// flatten writes properties as the command line has them.
func flatten(ps []property) string {
	parts := make([]string, 0, len(ps))
	for _, p := range ps {
		switch v := p.value.(type) {
		case bool:
			parts = append(parts, p.key+"="+map[bool]string{true: "on", false: "off"}[v])
		default:
			parts = append(parts, fmt.Sprintf("%s=%v", p.key, v))
		}
	}
	return strings.Join(parts, ",")
}

// nest writes properties as QMP has them: "file.driver" becomes an object in an object.
func nest(ps []property) map[string]any {
	object := map[string]any{}
	for _, p := range ps {
		if outer, inner, ok := strings.Cut(p.key, "."); ok {
			child, _ := object[outer].(map[string]any)
			if child == nil {
				child = map[string]any{}
				object[outer] = child
			}
			child[inner] = p.value
			continue
		}
		object[p.key] = p.value
	}
	return object
}
