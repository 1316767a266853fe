//go:build qemu

package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Every wait in these tests ends within patience: an emulated machine on a busy host is slow.
const patience = 3 * time.Minute

const (
	mac     = "52:54:00:12:34:56"
	address = "10.0.2.15/24"
	gateway = "10.0.2.2" // QEMU's user network answers for it
)

// vm is a QEMU that runs the guest image, and the host's side of its channel.
type vm struct {
	t       *testing.T
	dir     string
	cmd     *exec.Cmd
	exited  chan error
	client  *http.Client
	session *yamux.Session
	stream  net.Conn
	began   time.Time
}

// start boots a machine with an image disk and the scratch disk in dir, and connects to it.
func start(t *testing.T, dir string) *vm {
	t.Helper()
	v := launch(t, dir, "")
	v.connect()
	return v
}

// guestImage is the directory that "make guest-image" fills.
func guestImage(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("VIC_GUEST_IMAGE")
	if dir == "" {
		dir = "../bin/guest"
	}
	require.FileExists(t, filepath.Join(dir, "initrd.zst"), "make guest-image builds it")
	return dir
}

func launch(t *testing.T, dir, cmdline string) *vm {
	t.Helper()
	image := guestImage(t)
	disk := imageDisk(t)
	scratch := filepath.Join(dir, "scratch.img")
	if _, err := os.Stat(scratch); err != nil {
		require.NoError(t, os.WriteFile(scratch, nil, 0o600))
		require.NoError(t, os.Truncate(scratch, 2<<30))
	}
	args := []string{
		"-accel", "tcg", "-M", "pc", "-cpu", "max", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(image, "vmlinuz"), "-initrd", filepath.Join(image, "initrd.zst"),
		"-append", "console=ttyS0 panic=-1 reboot=t quiet loglevel=3 no_timer_check nokaslr mitigations=off init_on_alloc=0 cryptomgr.notests " + cmdline,
		"-chardev", "file,id=console,path=" + filepath.Join(dir, "console.log") + ",append=on", "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=guest,path=" + filepath.Join(dir, "guest.sock") + ",server=on,wait=off",
		"-device", "virtserialport,chardev=guest,name=vic.guest.0",
		"-device", "virtio-scsi-pci,id=scsi",
		"-drive", "if=none,id=image,format=raw,read-only=on,file=" + disk,
		"-device", "scsi-hd,drive=image,serial=image",
		"-drive", "if=none,id=scratch,format=raw,file=" + scratch,
		"-device", "scsi-hd,drive=scratch,serial=scratch",
		"-netdev", "user,id=net,restrict=on",
		"-device", "virtio-net-pci,netdev=net,romfile=,mac=" + mac,
		"-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,deflate-on-oom=on",
		"-qmp", "unix:" + filepath.Join(dir, "qmp.sock") + ",server=on,wait=off",
	}
	v := &vm{t: t, dir: dir, cmd: exec.Command("qemu-system-x86_64", args...), exited: make(chan error, 1), began: time.Now()}
	v.cmd.Stderr = os.Stderr
	require.NoError(t, v.cmd.Start(), "apt-get install qemu-system-x86")
	go func() { v.exited <- v.cmd.Wait() }()
	t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "console.log"))
			t.Logf("console:\n%s", b)
		}
	})
	return v
}

// connect begins a host connection, as the first host does and any after it.
func (v *vm) connect() {
	v.t.Helper()
	socket := filepath.Join(v.dir, "guest.sock")
	for v.stream = nil; v.stream == nil; {
		select {
		case err := <-v.exited:
			require.Fail(v.t, "QEMU ended", "%v", err)
		case <-time.After(10 * time.Millisecond):
			if conn, err := net.Dial("unix", socket); err == nil {
				v.stream = conn
			}
		}
	}
	require.NoError(v.t, v.stream.SetDeadline(time.Now().Add(patience)))
	stream, err := wire.Connect(v.stream)
	require.NoError(v.t, err)
	require.NoError(v.t, v.stream.SetDeadline(time.Time{}))
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	config.ConnectionWriteTimeout = time.Minute
	v.session, err = yamux.Client(stream, config)
	require.NoError(v.t, err)
	session := v.session
	v.client = &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return session.Open() },
	}}
	v.t.Cleanup(func() { _ = session.Close() })
}

// call makes a call and decodes its answer, and returns its status.
func (v *vm) call(method, path string, body, into any) (int, string) {
	v.t.Helper()
	b, err := json.Marshal(body)
	require.NoError(v.t, err)
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://guest"+path, bytes.NewReader(b))
	require.NoError(v.t, err)
	resp, err := v.client.Do(req)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	if into != nil {
		require.Less(v.t, resp.StatusCode, 300, "%s %s: %s", method, path, text)
		require.NoError(v.t, json.Unmarshal(text, into))
	}
	return resp.StatusCode, string(text)
}

func (v *vm) must(method, path string, body any) {
	v.t.Helper()
	status, text := v.call(method, path, body, nil)
	require.Less(v.t, status, 300, "%s %s: %s", method, path, text)
}

func podOf(policy string, containers ...string) wire.Pod {
	p := wire.Pod{
		UID: "uid-1", Namespace: "default", Name: "web", Hostname: "web", ScratchDisk: "scratch", RestartPolicy: policy,
		Interfaces: []wire.Interface{{
			MAC: mac, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}, Gateways: []netip.Addr{netip.MustParseAddr(gateway)},
		}},
		DNS:   wire.DNS{Nameservers: []string{"10.0.2.3"}, Searches: []string{"default.svc.cluster.local"}},
		Hosts: []wire.Host{{IP: "1.2.3.4", Names: []string{"other"}}},
		Volumes: []wire.Volume{
			{Name: "data", Kind: wire.VolumeScratch},
			{Name: "mem", Kind: wire.VolumeMemory, SizeBytes: 1 << 20},
			{Name: "config", Kind: wire.VolumeFiles},
		},
		Time: time.Now(), Entropy: bytes.Repeat([]byte{7}, 64),
	}
	for _, c := range containers {
		p.Containers = append(p.Containers, wire.Seed{Name: c})
	}
	return p
}

// sh is a container that runs a script.
func sh(name, script string) wire.Container {
	return wire.Container{
		Name: name, Disks: []string{"image"}, Args: []string{"/bin/sh", "-c", script},
		TerminationMessagePath: "/dev/termination-log",
	}
}

func (v *vm) configure(p wire.Pod) {
	v.t.Helper()
	v.must("PUT", wire.PathBoot, wire.BootName{ID: "boot"})
	v.must("PUT", wire.PathPod, p)
}

func (v *vm) run(c wire.Container) {
	v.t.Helper()
	v.must("PUT", strings.ReplaceAll(wire.PathContainer, "{container}", c.Name), c)
}

// await waits for a snapshot that ok accepts.
func (v *vm) await(ok func(wire.Snapshot) bool) wire.Snapshot {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	var s wire.Snapshot
	for time.Now().Before(deadline) {
		var next wire.Snapshot // what is false is not in the JSON
		v.call("GET", fmt.Sprintf("%s?boot=%s&after=%d", wire.PathSnapshot, s.BootID, s.Generation), nil, &next)
		if s = next; ok(s) {
			return s
		}
	}
	require.Fail(v.t, "no such snapshot", "latest: %+v", s)
	return s
}

func (v *vm) awaitState(name string, state wire.ContainerState) wire.ContainerStatus {
	v.t.Helper()
	var got wire.ContainerStatus
	v.await(func(s wire.Snapshot) bool {
		got, _ = s.Container(name)
		return got.State == state
	})
	return got
}

// log returns the text of a log once its attempt has ended.
func (v *vm) log(name string, attempt int) string {
	v.t.Helper()
	path := strings.NewReplacer("{container}", name, "{attempt}", strconv.Itoa(attempt)).Replace(wire.PathLog)
	_, text := v.call("GET", path, nil, nil)
	var b strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		require.Len(v.t, fields, 4, "line %q of %q", line, text)
		b.WriteString(fields[3])
		if fields[2] == "F" {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// stream is an upgraded connection.
type stream struct {
	t    *testing.T
	conn net.Conn
	resp *http.Response
	r    io.Reader
	w    *wire.FrameWriter
}

func (v *vm) upgrade(path string, first any) *stream {
	v.t.Helper()
	conn, err := v.session.Open()
	require.NoError(v.t, err)
	s := &stream{t: v.t, conn: conn, w: wire.NewFrameWriter(conn)}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: guest\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", path, wire.UpgradeProtocol)
	require.NoError(v.t, err)
	require.NoError(v.t, conn.SetReadDeadline(time.Now().Add(patience)))
	r := newReader(conn)
	s.resp, err = http.ReadResponse(r, nil) //nolint:bodyclose // the body is the stream
	require.NoError(v.t, err)
	s.r = r
	if s.resp.StatusCode != http.StatusSwitchingProtocols {
		return s
	}
	b, err := json.Marshal(first)
	require.NoError(v.t, err)
	require.NoError(v.t, s.w.Frame(wire.FrameStart, b))
	return s
}

func (v *vm) exec(name string, e wire.Exec) *stream {
	v.t.Helper()
	s := v.upgrade(strings.ReplaceAll(wire.PathExec, "{container}", name), e)
	require.Equal(v.t, http.StatusSwitchingProtocols, s.resp.StatusCode)
	return s
}

// result reads frames to the exit.
func (s *stream) result() (stdout, stderr string, exit wire.Exit) {
	s.t.Helper()
	defer s.conn.Close()
	var out, errOut strings.Builder
	for {
		kind, payload, err := wire.ReadFrame(s.r)
		require.NoError(s.t, err, "after %q and %q", out.String(), errOut.String())
		switch kind {
		case wire.FrameStdout:
			out.Write(payload)
		case wire.FrameStderr:
			errOut.Write(payload)
		default:
			require.Equal(s.t, wire.FrameExit, kind)
			require.NoError(s.t, json.Unmarshal(payload, &exit))
			return out.String(), errOut.String(), exit
		}
	}
}

// expect reads output until it contains want.
func (s *stream) expect(want string) {
	s.t.Helper()
	var got strings.Builder
	for !strings.Contains(got.String(), want) {
		kind, payload, err := wire.ReadFrame(s.r)
		require.NoError(s.t, err, "waiting for %q after %q", want, got.String())
		require.NotEqual(s.t, wire.FrameExit, kind, "waiting for %q after %q: %s", want, got.String(), payload)
		got.Write(payload)
	}
}

func (s *stream) send(kind wire.FrameType, payload string) {
	s.t.Helper()
	require.NoError(s.t, s.w.Frame(kind, []byte(payload)))
}

// powerOff turns the machine off and waits for QEMU's end.
func (v *vm) powerOff() {
	v.t.Helper()
	v.must("POST", wire.PathPowerOff, nil)
	v.awaitExit()
}

func (v *vm) awaitExit() {
	v.t.Helper()
	select {
	case err := <-v.exited:
		require.NoError(v.t, err)
	case <-time.After(patience):
		require.Fail(v.t, "the machine did not power off")
	}
}

// qmp gives QEMU commands.
func (v *vm) qmp(commands ...string) {
	v.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(v.dir, "qmp.sock"))
	require.NoError(v.t, err)
	defer conn.Close()
	require.NoError(v.t, conn.SetDeadline(time.Now().Add(patience)))
	lines := newReader(conn)
	_, err = lines.ReadString('\n') // the greeting
	require.NoError(v.t, err)
	for _, c := range append([]string{`{"execute":"qmp_capabilities"}`}, commands...) {
		_, err := fmt.Fprintln(conn, c)
		require.NoError(v.t, err)
		answer, err := lines.ReadString('\n')
		require.NoError(v.t, err)
		require.Contains(v.t, answer, `"return"`, c)
	}
}
