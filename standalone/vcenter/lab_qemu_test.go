//go:build qemu

package vcenter_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/build/guestimage"
	"github.com/virtual-kubelet/vic/internal/testinitrd"
	"github.com/virtual-kubelet/vic/internal/testinitrd/vsphereguest/report"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

// patience is how long a boot may take: all is emulated, on a busy machine.
const patience = 3 * time.Minute

// grain is what a disk's size is a multiple of.
const grain = 64 << 10

// bootISO is the ISO of "make guest-image" with another guest program in it, made once.
var bootISO = sync.OnceValues(func() (string, error) {
	image := os.Getenv("VIC_GUEST_IMAGE")
	if image == "" {
		image = "../../bin/guest"
	}
	ctx := context.Background()
	init, err := testinitrd.Build(ctx, testinitrd.VSphereGuest)
	if err != nil {
		return "", err
	}
	iso := filepath.Join(isoDir, guestimage.ISOFile)
	return iso, testinitrd.WriteISO(ctx, iso, filepath.Join(image, guestimage.ISOFile), map[string][]byte{"init": init})
})

// isoDir is removed after all tests.
var isoDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "simulated")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	isoDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// lab is a simulated vCenter with a VCH in it, an administrator, and a server for guests.
type lab struct {
	*testing.T
	dir     string // the vCenter's
	vc      *vcenter.Server
	session *vsphere.Session
	h       *vsphere.Hypervisor
	admin   *govmomi.Client
	server  net.Listener
	gateway netip.Addr
	pod
}

// pod is the one that a lab's methods are about.
type pod struct {
	uid, mac string
	address  netip.Prefix
}

func newLab(t *testing.T, network vcenter.Network, gateway netip.Addr, address netip.Prefix) *lab {
	t.Helper()
	iso, err := bootISO()
	require.NoError(t, err, "make guest-image")
	dir := t.TempDir()
	vc, err := vcenter.Start(t.Context(), vcenter.Config{Dir: dir, Network: network, BootISO: iso})
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	target, err := vcenter.ReadTarget(dir)
	require.NoError(t, err)
	require.Equal(t, vc.Target(), target, "others find it too")
	password, err := os.ReadFile(target.PasswordFile)
	require.NoError(t, err)
	at := &url.URL{Scheme: "https", Host: target.Address, Path: "/sdk", User: url.UserPassword(target.User, strings.TrimSpace(string(password)))}
	admin, err := govmomi.NewClient(t.Context(), at, true)
	require.NoError(t, err)
	session, err := vsphere.Connect(t.Context(), target)
	require.NoError(t, err)
	authority, err := channels.LoadAuthority(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)
	h, err := vsphere.Open(t.Context(), vsphere.Config{
		Name: "vch", Session: session, Guests: channels.New(authority).At(nil), BootISO: vcenter.BootISO, Networks: map[string]string{"bridge": vcenter.PortGroup},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		h.Close()
		session.Close(context.WithoutCancel(t.Context()))
	})
	listen := "127.0.0.1:0"
	if network != nil {
		listen = net.JoinHostPort(gateway.String(), "0")
	}
	server, err := net.Listen("tcp4", listen)
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return &lab{T: t, dir: dir, vc: vc, session: session, h: h, admin: admin, server: server, gateway: gateway, pod: pod{"uid-1", "00:50:56:00:00:01", address}}
}

// userLab has a network that needs no privilege.
func userLab(t *testing.T) *lab {
	t.Helper()
	return newLab(t, nil, netip.MustParseAddr("10.0.2.2"), netip.MustParsePrefix("10.0.2.15/24"))
}

func (l *lab) spec(disks ...portlayer.Disk) portlayer.Spec {
	return portlayer.Spec{
		ID: l.uid, Owner: portlayer.Owner{Kind: "Pod", UID: l.uid, Namespace: "default", Name: "pod", Node: "node", Generation: 1},
		Size:        portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20},
		Disks:       disks,
		NICs:        []portlayer.NIC{{Scope: "bridge", MAC: l.mac, Addresses: []netip.Prefix{l.address}, Gateways: []netip.Addr{l.gateway}}},
		Annotations: map[string]string{"note": "app"},
	}
}

// create makes a VM with an image's disk and a scratch disk, and gives it what its guest is to know.
func (l *lab) create() (image portlayer.DiskRef) {
	l.Helper()
	image, err := l.h.EnsureDisk(l.Context(), source("an image"))
	require.NoError(l, err)
	_, err = l.h.Create(l.Context(), l.spec(
		portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: image},
		portlayer.Disk{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 64 << 20},
	))
	require.NoError(l, err)
	l.setExtra("guestinfo.vic.test", l.blob())
	return image
}

func (l *lab) blob() string {
	l.Helper()
	_, port, err := net.SplitHostPort(l.server.Addr().String())
	require.NoError(l, err)
	b, err := json.Marshal(report.Boot{
		Server: net.JoinHostPort(l.gateway.String(), port), Address: l.address.String(), Gateway: l.gateway.String(),
	})
	require.NoError(l, err)
	return string(b)
}

// setExtra sets a key of the VM's extraConfig.
func (l *lab) setExtra(key, value string) {
	l.Helper()
	task, err := l.machine().Reconfigure(l.Context(), types.VirtualMachineConfigSpec{
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}},
	})
	require.NoError(l, err)
	require.NoError(l, task.Wait(l.Context()))
}

// machine is the pod's VM, as an administrator finds it.
func (l *lab) machine() *object.VirtualMachine {
	l.Helper()
	vm, err := find.NewFinder(l.admin.Client).VirtualMachine(l.Context(), "/DC0/vm/default-pod-"+l.uid)
	require.NoError(l, err)
	return vm
}

func (l *lab) facts() mo.VirtualMachine {
	l.Helper()
	var vm mo.VirtualMachine
	require.NoError(l, l.machine().Properties(l.Context(), l.machine().Reference(), []string{"summary", "runtime", "config"}, &vm))
	return vm
}

func (l *lab) state() portlayer.State {
	l.Helper()
	vms, err := l.h.List(l.Context())
	require.NoError(l, err)
	for _, vm := range vms {
		if vm.ID() == l.uid {
			return vm.State
		}
	}
	return portlayer.StateRemoved
}

func (l *lab) await(want portlayer.State) {
	l.Helper()
	require.Eventually(l, func() bool { return l.state() == want }, patience, 20*time.Millisecond)
}

// files are what the datastore has below a directory.
func (l *lab) files(dir string) []string {
	l.Helper()
	store, err := find.NewFinder(l.admin.Client).Datastore(l.Context(), "/DC0/datastore/LocalDS_0")
	require.NoError(l, err)
	browser, err := store.Browser(l.Context())
	require.NoError(l, err)
	task, err := browser.SearchDatastore(l.Context(), store.Path(dir), &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	require.NoError(l, err)
	info, err := task.WaitForResult(l.Context())
	require.NoError(l, err)
	var names []string
	for _, f := range info.Result.(types.HostDatastoreBrowserSearchResults).File {
		names = append(names, f.GetFileInfo().Path)
	}
	return names
}

// guest is one boot's connection.
type guest struct {
	l    *lab
	conn net.Conn
	r    *bufio.Reader
}

// powerOn starts the VM and waits for its guest's call.
func (l *lab) powerOn() *guest {
	l.Helper()
	require.NoError(l, l.h.PowerOn(l.Context(), l.uid))
	return l.accept()
}

func (l *lab) accept() *guest {
	l.Helper()
	require.NoError(l, l.server.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
	conn, err := l.server.Accept()
	require.NoError(l, err, "the guest's console: %s", l.vc.Console(l.facts().Config.InstanceUuid))
	l.Cleanup(func() { _ = conn.Close() })
	return &guest{l, conn, bufio.NewReader(conn)}
}

func (g *guest) send(line string) {
	g.l.Helper()
	require.NoError(g.l, g.conn.SetDeadline(time.Now().Add(patience)))
	_, err := fmt.Fprintln(g.conn, line)
	require.NoError(g.l, err)
}

func (g *guest) ask(line string, answer any) {
	g.l.Helper()
	g.send(line)
	text, err := g.r.ReadBytes('\n')
	require.NoError(g.l, err)
	require.NoError(g.l, json.Unmarshal(text, answer))
}

// look asks for reports until there are so many disks.
func (g *guest) look(disks int) report.Report {
	g.l.Helper()
	var r report.Report
	require.Eventually(g.l, func() bool {
		r = report.Report{}
		g.ask("report", &r)
		return len(r.Disks) == disks
	}, patience, 20*time.Millisecond, "%+v", &r)
	return r
}

func (g *guest) write(target int, text string) {
	g.l.Helper()
	var answer string
	g.ask(fmt.Sprintf("write %d %s", target, text), &answer)
	require.Equal(g.l, "written", answer)
}

// source is an image's disk of three grains that begins with text.
func source(text string) portlayer.DiskSource {
	b := make([]byte, 3*grain-100)
	copy(b, text)
	copy(b[2*grain:], "the last grain")
	sum := sha256.Sum256(b)
	return portlayer.DiskSource{
		Digest: "sha256:" + hex.EncodeToString(sum[:]), SizeBytes: int64(len(b)),
		Open: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(b), io.NopCloser(nil)}, nil
		},
	}
}
