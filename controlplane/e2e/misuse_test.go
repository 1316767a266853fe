package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMisuseIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":              {[]string{"--frob"}, "unknown flag: --frob"},
		"an unknown command":           {[]string{"frob"}, `unknown command or argument "frob"`},
		"a port that is none":          {[]string{"--api-port", "70000"}, "--api-port"},
		"a pod address without a port": {[]string{"--pod-listen", "172.30.0.1"}, "--pod-listen"},
		"all addresses for pods":       {[]string{"--pod-listen", "0.0.0.0:6443"}, "--pod-listen"},
		"a range that is none":         {[]string{"--service-cidr", "10.96.0.0"}, "--service-cidr"},
		"a range with bits behind it":  {[]string{"--service-cidr", "10.96.0.1/16"}, "did you mean 10.96.0.0/16"},
		"a range that is too small":    {[]string{"--service-cidr", "10.96.0.0/30"}, "--service-cidr"},
		"a range that is too large":    {[]string{"--service-cidr", "10.0.0.0/8"}, "--service-cidr"},
		"a name that no node may have": {[]string{"--node-name", "Vic_Local"}, "--node-name"},
		"a kubeconfig in no directory": {[]string{"--kubeconfig", "/nonexistent/kubeconfig"}, "--kubeconfig"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")

			r := run(t, "vic-controlplane", append([]string{"--dir", dir}, tt.args...)...)

			assert.Equal(t, 2, r.code)
			assert.Contains(t, r.stderr, tt.want)
			assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %s", r.stderr)
			assert.Empty(t, r.stdout)
			assert.NoDirExists(t, dir)
		})
	}
}

func TestTheDirectoryIsRequired(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"status"}, {"stop"}} {
		r := run(t, "vic-controlplane", args...)
		assert.Equal(t, result{stderr: "vic-controlplane: --dir: a state directory is required\n", code: 2}, r)
	}
}

func TestFlagsComeFromTheEnvironmentToo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("VIC_CONTROLPLANE_DIR", dir)
	t.Setenv("VIC_CONTROLPLANE_OUTPUT", "json")
	r := run(t, "vic-controlplane", "status")
	assert.JSONEq(t, `{"running": false}`, r.stdout)
	r = run(t, "vic-controlplane", "status", "-o", "text")
	assert.Equal(t, "not running\n", r.stdout, "the flag wins")

	t.Setenv("VIC_CONTROLPLANE_API_PORT", "many")
	r = run(t, "vic-controlplane")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "VIC_CONTROLPLANE_API_PORT")
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for flag, value := range map[string]string{"--api-port": port, "--pod-listen": l.Addr().String()} {
		r := run(t, "vic-controlplane", "--dir", t.TempDir(), flag, value)
		assert.Equal(t, result{
			stderr: "vic-controlplane: " + flag + ": port in use: another program listens on " + l.Addr().String() + "\n",
			code:   1,
		}, r)
	}
}

func TestARangeOfServicesCannotChange(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "--service-cidr", "10.97.0.0/20")
	assert.Equal(t, "10.97.0.1", p.kubectl(t, "get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"))
	p.kill()

	r := run(t, "vic-controlplane", "--dir", p.dir)

	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "--service-cidr: "+p.dir+" was made with 10.97.0.0/20")
}

func TestDamagedDataIsNamed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, want string }{
		"etcd's database":   {"etcd/member/snap/db", "etcd"},
		"etcd's log":        {"etcd/member/wal/0000000000000000-0000000000000000.wal", "etcd"},
		"what we keep":      {"settings.json", "settings.json"},
		"the key of tokens": {"pki/service-account.key", "pki/service-account.key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir())
			p.kill()
			require.NoError(t, os.WriteFile(p.file(tt.file), []byte(strings.Repeat("damaged ", 4096)), 0o600))

			r := run(t, "vic-controlplane", "--dir", p.dir)

			assert.Equal(t, 1, r.code)
			assert.Empty(t, r.stdout)
			assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %s", r.stderr)
			assert.Contains(t, r.stderr, p.file(tt.want))
			assert.Equal(t, status{}, statusOf(t, p.dir))
		})
	}
}
