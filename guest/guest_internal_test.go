package guest

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/crun"
	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func pod() wire.Pod {
	return wire.Pod{
		UID: "uid", Name: "web", Namespace: "default", Hostname: "web", RestartPolicy: "Never",
		Time: time.Unix(1, 0), Entropy: make([]byte, 32),
		Interfaces: []wire.Interface{{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")}}},
		DNS: wire.DNS{
			Nameservers: []string{"10.0.0.2", "10.0.0.3"}, Searches: []string{"a.local", "b.local"}, Options: []string{"ndots:5"},
		},
	}
}

func TestWriteEtc(t *testing.T) {
	p := pod()
	p.Hosts = []wire.Host{{IP: "1.2.3.4", Names: []string{"one", "uno"}}}
	dir := t.TempDir()
	binds, err := writeEtc(dir, p)
	require.NoError(t, err)
	var targets []string
	for _, b := range binds {
		targets = append(targets, b.Target)
	}
	require.Equal(t, []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}, targets)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(b)
	}
	assert.Equal(t, "web\n", read("hostname"))
	assert.Equal(t, "search a.local b.local\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions ndots:5\n", read("resolv.conf"))
	assert.Contains(t, read("hosts"), "127.0.0.1\tlocalhost\n")
	assert.Contains(t, read("hosts"), "10.0.0.5\tweb\n1.2.3.4\tone uno\n")
}

func TestTheHostMayNameThePodItself(t *testing.T) {
	p := pod()
	p.Hosts = []wire.Host{{IP: "10.0.0.5", Names: []string{"web.sub.default.svc", "web"}}}
	got := hosts(p)
	assert.Contains(t, got, "10.0.0.5\tweb.sub.default.svc web\n")
	assert.NotContains(t, got, "10.0.0.5\tweb\n")
}

func TestSamePodIgnoresClockAndEntropy(t *testing.T) {
	a, b := pod(), pod()
	b.Time, b.Entropy = time.Now(), []byte("other")
	assert.True(t, samePod(a, b))
	b.RestartPolicy = "Always"
	assert.False(t, samePod(a, b))
}

func TestCheckRefuses(t *testing.T) {
	for name, change := range map[string]func(*wire.Pod){
		"too little entropy":     func(p *wire.Pod) { p.Entropy = p.Entropy[1:] },
		"no time":                func(p *wire.Pod) { p.Time = time.Time{} },
		"no host name":           func(p *wire.Pod) { p.Hostname = "" },
		"too many interfaces":    func(p *wire.Pod) { p.Interfaces = make([]wire.Interface, 17) },
		"a bad restart policy":   func(p *wire.Pod) { p.RestartPolicy = "" },
		"a bad container's name": func(p *wire.Pod) { p.Containers = []wire.Seed{{Name: "a/b"}} },
	} {
		t.Run(name, func(t *testing.T) {
			p := pod()
			change(&p)
			require.ErrorIs(t, (&system{}).check(p), supervisor.ErrInvalid)
		})
	}
	first := pod()
	s := &system{steps: steps{first: &first}}
	require.NoError(t, s.check(pod()))
	other := pod()
	other.UID = "other"
	require.ErrorIs(t, s.check(other), supervisor.ErrConflict)
}

func TestBeforeAPodThereIsNothing(t *testing.T) {
	s := &system{}
	require.ErrorIs(t, s.Running("app"), crun.ErrNotRunning)
	_, err := s.Log("app", 0)
	require.ErrorIs(t, err, logfile.ErrNotFound)
	require.ErrorIs(t, s.PutFiles(wire.Files{}), supervisor.ErrConflict)
}

func TestSetSysctls(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"net/core/somaxconn", "net/ipv4/conf/eth0.1/forwarding"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), nil, 0o600))
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(b)
	}
	require.NoError(t, setSysctls(dir, []wire.Sysctl{
		{Name: "net.core.somaxconn", Value: "7"}, {Name: "net.ipv4.conf.eth0/1.forwarding", Value: "1"},
	}))
	assert.Equal(t, "7", read("net/core/somaxconn"))
	assert.Equal(t, "1", read("net/ipv4/conf/eth0.1/forwarding"))
	require.NoError(t, setSysctls(dir, []wire.Sysctl{{Name: "net/ipv4/conf/eth0.1/forwarding", Value: "0"}}))
	assert.Equal(t, "0", read("net/ipv4/conf/eth0.1/forwarding"))
	for _, name := range []string{"net.core.nosuch", "../etc/passwd", "", "/etc/passwd", "net/../../x"} {
		err := setSysctls(dir, []wire.Sysctl{{Name: name, Value: "1"}})
		require.ErrorIs(t, err, supervisor.ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
}
