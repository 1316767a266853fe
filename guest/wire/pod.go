package wire

import (
	"net/netip"
	"time"
)

// Hello is the guest's greeting.
type Hello struct {
	// BootID is the kernel's random boot id: another one means that the VM was started anew.
	BootID string `json:"bootID"`
	// Version is the build of the guest program.
	Version string `json:"version"`
	// Kernel is the kernel's release, as uname -r prints it.
	Kernel string `json:"kernel"`
	// Configured tells whether a Pod was applied in this boot.
	Configured bool `json:"configured"`
	// MemoryBytes is what the kernel found.
	MemoryBytes int64 `json:"memoryBytes"`
	CPUs        int   `json:"cpus"`
}

// Pod is what all containers of a pod share. It is applied once a boot; the same Pod again is no change, another one is
// refused with status 409.
type Pod struct {
	UID        string      `json:"uid"`
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	Hostname   string      `json:"hostname"`
	Interfaces []Interface `json:"interfaces"`
	DNS        DNS         `json:"dns"`
	// Hosts are lines of /etc/hosts beside the guest's own for localhost.
	Hosts []Host `json:"hosts,omitempty"`
	// ScratchDisk is the serial number of the writable disk for container layers, emptyDir volumes and logs.
	ScratchDisk string   `json:"scratchDisk"`
	Volumes     []Volume `json:"volumes,omitempty"`
	// Containers are all containers of the pod in the order of its spec, with what a former boot left behind.
	Containers []Seed `json:"containers"`
	// RestartPolicy is Always, OnFailure or Never.
	RestartPolicy string `json:"restartPolicy"`
	// Time is the host's clock, to which the guest steps its own.
	Time time.Time `json:"time"`
	// Entropy is credited to the guest's random pool before any container runs; at least 32 bytes.
	Entropy []byte `json:"entropy"`
}

// Interface is one network interface, found by its hardware address.
type Interface struct {
	MAC     string       `json:"mac"`
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
	MTU     int          `json:"mtu,omitempty"`
}

// DNS is what /etc/resolv.conf of every container says.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Searches    []string `json:"searches,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// Host is one line of /etc/hosts.
type Host struct {
	IP    string   `json:"ip"`
	Names []string `json:"names"`
}

// VolumeKind says where a volume's data lives.
type VolumeKind string

// The kinds of volume.
const (
	// VolumeScratch is a directory on the scratch disk (emptyDir); it outlives containers and reboots of the VM.
	VolumeScratch VolumeKind = "scratch"
	// VolumeMemory is a tmpfs (emptyDir with medium Memory).
	VolumeMemory VolumeKind = "memory"
	// VolumeFiles holds files that the host delivers with Files, on tmpfs, replaced as a whole and at once.
	VolumeFiles VolumeKind = "files"
)

// Volume is one volume of the pod.
type Volume struct {
	Name string     `json:"name"`
	Kind VolumeKind `json:"kind"`
	// SizeBytes bounds a VolumeMemory; 0 is half of the VM's memory.
	SizeBytes int64 `json:"sizeBytes,omitempty"`
}

// Files is the whole content of one VolumeFiles. It replaces what was there in one step, as the kubelet's atomic writer
// does: a reader sees the old files or the new ones (..data is a symbolic link to a directory of its own).
type Files struct {
	Volume string `json:"volume"`
	Files  []File `json:"files"`
}

// File is one file of a volume; Path is relative, has no ".." in it and may have directories.
type File struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
	Data []byte `json:"data"`
}

// Seed names a container and what is known of it from before this boot.
type Seed struct {
	Name         string      `json:"name"`
	RestartCount int32       `json:"restartCount"`
	Last         *Terminated `json:"last,omitempty"`
	// Final says that the container ended for good before this boot; it is reported as Last and never run.
	Final bool `json:"final,omitempty"`
	// Backoff is the delay that the next restart waits, carried over from the former boot.
	Backoff time.Duration `json:"backoff,omitempty"`
	// NotBefore is when the first start of this boot may happen.
	NotBefore time.Time `json:"notBefore,omitzero"`
}

// Ready is the guest's answer to a Pod: the addresses that it holds.
type Ready struct {
	Addresses []netip.Addr `json:"addresses"`
}

// Container says how to run one container of the pod. The same Container again has no effect.
type Container struct {
	Name string `json:"name"`
	// Disks are the serial numbers of the read-only disks below the container's writable layer, topmost first.
	Disks []string `json:"disks"`
	Args  []string `json:"args"`
	// Env is KEY=VALUE, in order.
	Env        []string `json:"env"`
	WorkingDir string   `json:"workingDir"`
	// User is "user[:group]" as in an image, names or numbers, looked up in the image's /etc/passwd and /etc/group; empty is root.
	User      string    `json:"user"`
	TTY       bool      `json:"tty,omitempty"`
	Stdin     bool      `json:"stdin,omitempty"`
	StdinOnce bool      `json:"stdinOnce,omitempty"`
	Mounts    []Mount   `json:"mounts,omitempty"`
	Resources Resources `json:"resources"`
	// StopSignal is a name such as SIGTERM, which it is when empty.
	StopSignal             string `json:"stopSignal,omitempty"`
	TerminationMessagePath string `json:"terminationMessagePath,omitempty"`
	// TerminationMessageFromLog takes the log's tail as message where the file is empty and the container failed.
	TerminationMessageFromLog bool `json:"terminationMessageFromLog,omitempty"`
	// ReadOnlyRoot mounts the container's root read-only.
	ReadOnlyRoot bool `json:"readOnlyRoot,omitempty"`
}

// Mount puts a volume, or a path in it, into a container.
type Mount struct {
	Volume   string `json:"volume"`
	Path     string `json:"path"`
	SubPath  string `json:"subPath,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Resources bound a container by its cgroup; zero is no bound of its own.
type Resources struct {
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// CPUMilli is the limit in thousandths of a processor.
	CPUMilli int64 `json:"cpuMilli,omitempty"`
	// CPURequestMilli becomes the cgroup's weight.
	CPURequestMilli int64 `json:"cpuRequestMilli,omitempty"`
}

// Stop ends all containers: TERM (or their stop signal), and KILL when Grace is over. It returns at once and can be
// repeated with a shorter grace, which then holds.
type Stop struct {
	Grace time.Duration `json:"grace"`
	// Reason is kept in Snapshot.StopReason, so that it is known after the VM is gone.
	Reason string `json:"reason,omitempty"`
}

// Clock steps the guest's clock.
type Clock struct {
	Time time.Time `json:"time"`
}
