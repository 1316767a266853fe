package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

// execute runs vic with args, as main does.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestMisuseNamesWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		args []string
		says string
	}{
		"an unknown command":                 {[]string{"fly"}, `unknown command "fly"`},
		"an unknown command below another":   {[]string{"podvm", "fly"}, `unknown command "fly"`},
		"an unknown flag":                    {[]string{"up", "--fly"}, "--fly"},
		"an argument too many":               {[]string{"up", "now"}, "now"},
		"an argument too few":                {[]string{"image", "pull"}, "1 arg"},
		"a port that is none":                {[]string{"up", "--api-port", "65536"}, "--api-port 65536"},
		"a kubelet port that is none":        {[]string{"up", "--kubelet-port", "-1"}, "--kubelet-port -1"},
		"a node name that is none":           {[]string{"up", "--node-name", "No Name"}, "--node-name"},
		"a number of processors below zero":  {[]string{"up", "--cpu", "-1"}, "--cpu"},
		"a size that is none":                {[]string{"up", "--memory", "much"}, "--memory"},
		"a size of nothing":                  {[]string{"up", "--memory", "0"}, "--memory"},
		"storage that is none":               {[]string{"up", "--ephemeral-storage", "much"}, "--ephemeral-storage"},
		"a number of pods below zero":        {[]string{"up", "--pods", "-1"}, "--pods -1"},
		"a reserve without a quantity":       {[]string{"up", "--reserved", "cpu"}, `--reserved`},
		"a reserve of nonsense":              {[]string{"up", "--reserved", "cpu=some"}, `"cpu=some" is no quantity`},
		"a reserve below zero":               {[]string{"up", "--reserved", "cpu=-1"}, "cpu=-1 is below zero"},
		"a reserve of what is not offered":   {[]string{"up", "--reserved", "pods=1"}, `"pods" is none of`},
		"a reserve that is given twice":      {[]string{"up", "--reserved", "cpu=1,cpu=2"}, "cpu is given twice"},
		"a pressure kept for less than none": {[]string{"up", "--eviction-pressure-transition-period", "-1s"}, "--eviction-pressure-transition-period -1s"},
		"a log file of nothing":              {[]string{"up", "--container-log-max-size", "1"}, "--container-log-max-size 1 "},
		"a log file that is none":            {[]string{"up", "--container-log-max-size", "big"}, "--container-log-max-size"},
		"one log file":                       {[]string{"up", "--container-log-max-files", "1"}, "--container-log-max-files 1 "},
		"an accelerator that is none":        {[]string{"up", "--accel", "warp"}, "--accel"},
		"a registry with a scheme":           {[]string{"up", "--insecure-registry", "http://r:5000"}, "--insecure-registry"},
		"a mirror without a URL":             {[]string{"up", "--registry-mirror", "docker.io"}, "--registry-mirror"},
		"a log level that is none":           {[]string{"podvm", "ls", "--log-level", "loud"}, "--log-level"},
		"a form of log lines that is none":   {[]string{"podvm", "ls", "--log-format", "xml"}, "--log-format"},
		"a form of results that is none":     {[]string{"podvm", "ls", "-o", "xml"}, "--output"},
		"a form that a pod VM has not":       {[]string{"podvm", "inspect", "web", "-o", "table"}, "--output"},
		"a pod VM without a name":            {[]string{"podvm", "inspect"}, "1 arg"},
		"a console's tail that is none":      {[]string{"podvm", "console", "web", "--tail", "-2"}, "--tail -2"},
		"a removal without time":             {[]string{"podvm", "rm", "web", "--timeout", "0s"}, "--timeout 0s"},
		"a node without its files":           {[]string{"node"}, "--kubeconfig"},
		"a name that no image has":           {[]string{"image", "pull", "Bad Name"}, `"Bad Name"`},
		"an import with such a name":         {[]string{"image", "import", "hello.tar", "Bad Name"}, `"Bad Name"`},
		"credentials without programs":       {[]string{"up", "--image-credential-provider-config", "/none"}, "--image-credential-provider-bin-dir"},
		"programs without credentials":       {[]string{"up", "--image-credential-provider-bin-dir", "/none"}, "--image-credential-provider-config"},
		"credentials that are not there":     {[]string{"up", "--image-credential-provider-bin-dir", "/", "--image-credential-provider-config", "/none"}, "/none"},
		"an empty directory":                 {[]string{"up", "--dir", ""}, "--dir"},
		"a mirror that is not a web address": {[]string{"up", "--registry-mirror", "docker.io=ftp://m"}, "--registry-mirror"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			t.Setenv("XDG_STATE_HOME", dir)
			_, err := execute(t, tt.args...)
			var misuse *usageError
			require.ErrorAs(t, err, &misuse)
			require.ErrorContains(t, err, tt.says)
			assert.NoDirExists(t, dir, "nothing is touched")
		})
	}
}

func TestEnvironmentSetsFlags(t *testing.T) {
	t.Setenv("VIC_API_PORT", "99999")
	_, err := execute(t, "up")
	require.ErrorContains(t, err, "--api-port 99999")
	_, err = execute(t, "up", "--api-port", "77777")
	require.ErrorContains(t, err, "--api-port 77777", "the flag wins")

	t.Setenv("VIC_API_PORT", "many")
	_, err = execute(t, "up")
	require.ErrorContains(t, err, "VIC_API_PORT")
}

func TestListsOfAnAbsentDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	for _, args := range [][]string{{"podvm", "ls"}, {"image", "ls"}, {"image", "rm", "hello"}, {"image", "prune"}} {
		_, err := execute(t, append(args, "--dir", dir)...)
		require.ErrorContains(t, err, dir)
		assert.NoDirExists(t, dir)
	}
}

func TestListsOfAnEmptyDirectory(t *testing.T) {
	for _, args := range [][]string{{"podvm", "ls"}, {"image", "ls"}} {
		out, err := execute(t, append(args, "--dir", t.TempDir(), "-o", "json")...)
		require.NoError(t, err)
		assert.JSONEq(t, "[]", out)
	}
}

func TestPodVMThatDoesNotRunHasNoPID(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, printPodVMs(&out, outputTable, []portlayer.VM{{State: portlayer.StateStopped}, {State: portlayer.StateRunning, PID: 42}}))
	assert.Regexp(t, `stopped +- `, out.String())
	assert.Regexp(t, `running +42 `, out.String())
}

func TestEndingIsTrueOfKeptPods(t *testing.T) {
	assert.Contains(t, (&upOptions{}).ending(), "ends the pods")
	assert.Contains(t, (&upOptions{keepPods: true}).ending(), "pod VMs go on")
}

func TestNodeFile(t *testing.T) {
	tests := map[string]struct{ text, says string }{
		"without a name":           {"dir: /d", "nodeName"},
		"with an unknown key":      {"nodeName: n\nshoeSize: 9", "shoeSize"},
		"with a key given twice":   {"nodeName: n\nnodeName: m", "nodeName"},
		"with a bad subnet":        {"nodeName: n\nsubnet: everywhere", "subnet"},
		"with a bad address":       {"nodeName: n\naddress: here", "address"},
		"with a bad port":          {"nodeName: n\nport: 0", "port"},
		"with a bad size":          {"nodeName: n\nmemory: much", "memory"},
		"with bad storage":         {"nodeName: n\nephemeralStorage: much", "ephemeralStorage"},
		"with pods below zero":     {"nodeName: n\npods: -1", "pods"},
		"with a bad reserve":       {"nodeName: n\nreserved: {gpu: 1}", "reserved"},
		"with a bad transition":    {"nodeName: n\nevictionPressureTransitionPeriod: soon", "soon"},
		"with a bad log size":      {"nodeName: n\ncontainerLogMaxSize: big", "containerLogMaxSize"},
		"with one log file":        {"nodeName: n\ncontainerLogMaxFiles: 1", "container-log-max-files"},
		"with half of credentials": {"nodeName: n\nimageCredentialProviderConfig: /c", "image-credential-provider-bin-dir"},
		"with bad credentials":     {"nodeName: n\nimageCredentialProviderConfig: /none\nimageCredentialProviderBinDir: /bin", "/none"},
		"with a bad name server":   {"nodeName: n\nclusterDNS: [dns]", "clusterDNS"},
		"with a bad label":         {"nodeName: n\nlabels: {\"a b\": c}", "labels"},
		"with a bad mirror":        {"nodeName: n\nregistryMirrors: {docker.io: m}", "docker.io=m"},
		"with a bad accelerator":   {"nodeName: n\naccel: warp", "accel"},
		"with text that is no map": {"- 1", "node.yaml"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.yaml")
			require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
			_, err := readNodeFile(path)
			var misuse *usageError
			require.ErrorAs(t, err, &misuse)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestNodeFileHasDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte("nodeName: n\n"), 0o600))
	f, err := readNodeFile(path)
	require.NoError(t, err)
	assert.Equal(t, 10250, f.Port)
	assert.Equal(t, "/var/lib/vic", f.Dir)
	require.Len(t, f.taints(), 1)
	off := false
	f.Taint = &off
	assert.Empty(t, f.taints())
}

func TestNodeFileThatIsMissingIsNoMisuse(t *testing.T) {
	_, err := readNodeFile(filepath.Join(t.TempDir(), "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
	var misuse *usageError
	assert.NotErrorAs(t, err, &misuse)
}
