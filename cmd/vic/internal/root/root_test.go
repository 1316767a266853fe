package root_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/root"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
)

// execute runs vic with args, as main does.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return clitest.Execute(t, root.NewCommand(), args...)
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
		"a port that is none":                {[]string{"up", "--api-port", "65536"}, "--api-port: 65536"},
		"a kubelet port that is none":        {[]string{"up", "--kubelet-port", "-1"}, "--kubelet-port: -1"},
		"a node name that is none":           {[]string{"up", "--node-name", "No Name"}, "--node-name"},
		"a number of processors below zero":  {[]string{"up", "--cpu", "-1"}, "--cpu: -1 is not above zero"},
		"half a processor":                   {[]string{"up", "--cpu", "500m"}, "--cpu: 500m is not a whole number"},
		"a size that is none":                {[]string{"up", "--memory", "much"}, "--memory"},
		"a size of nothing":                  {[]string{"up", "--memory", "0"}, "--memory"},
		"storage that is none":               {[]string{"up", "--ephemeral-storage", "much"}, "--ephemeral-storage"},
		"a number of pods below zero":        {[]string{"up", "--pods", "-1"}, "--pods: -1 is not above zero"},
		"a reserve without a quantity":       {[]string{"up", "--reserved", "cpu"}, `--reserved`},
		"a reserve of nonsense":              {[]string{"up", "--reserved", "cpu=some"}, `"cpu=some" is not a quantity`},
		"a reserve below zero":               {[]string{"up", "--reserved", "cpu=-1"}, "--reserved: cpu: -1 is below zero"},
		"a reserve of what is not offered":   {[]string{"up", "--reserved", "pods=1"}, "--reserved: pods: it is not one of cpu, memory"},
		"a reserve that is given twice":      {[]string{"up", "--reserved", "cpu=1,cpu=2"}, "cpu is given twice"},
		"a pressure kept for less than none": {[]string{"up", "--eviction-pressure-transition-period", "-1s"}, "--eviction-pressure-transition-period: -1s"},
		"a log file of nothing":              {[]string{"up", "--container-log-max-size", "1"}, "--container-log-max-size: 1 "},
		"a log file that is none":            {[]string{"up", "--container-log-max-size", "big"}, "--container-log-max-size"},
		"one log file":                       {[]string{"up", "--container-log-max-files", "1"}, "--container-log-max-files: 1 "},
		"a mark above all":                   {[]string{"up", "--image-gc-high-threshold", "101"}, "--image-gc-high-threshold: 101"},
		"marks the wrong way round":          {[]string{"up", "--image-gc-high-threshold", "80"}, "--image-gc-low-threshold: 80 is not below"},
		"an age below zero":                  {[]string{"up", "--minimum-image-ttl-duration", "-1s"}, "--minimum-image-ttl-duration: -1s"},
		"a look that never ends":             {[]string{"up", "--image-gc-period", "0"}, "--image-gc-period: 0s is below 1s"},
		"an accelerator that is none":        {[]string{"up", "--accel", "warp"}, `--accel: "warp" is not one of`},
		"a collector that is none":           {[]string{"up", "--tracing-endpoint", "ftp://c"}, "--tracing-endpoint: "},
		"a registry with a scheme":           {[]string{"up", "--insecure-registry", "http://r:5000"}, "--insecure-registry: "},
		"a mirror without a URL":             {[]string{"up", "--registry-mirror", "docker.io"}, "--registry-mirror"},
		"a mirror that is not a web address": {[]string{"up", "--registry-mirror", "docker.io=ftp://m"}, "--registry-mirror: "},
		"certificates that are not there":    {[]string{"up", "--registry-hosts-dir", "/none"}, "--registry-hosts-dir: "},
		"certificates in a file":             {[]string{"up", "--registry-hosts-dir", "/dev/null"}, "--registry-hosts-dir: /dev/null is not a directory"},
		"a log level that is none":           {[]string{"podvm", "ls", "--log-level", "loud"}, "--log-level"},
		"a form of log lines that is none":   {[]string{"podvm", "ls", "--log-format", "xml"}, "--log-format"},
		"a form of results that is none":     {[]string{"podvm", "ls", "-o", "xml"}, "--output"},
		"a form that a pod VM has not":       {[]string{"podvm", "inspect", "web", "-o", "table"}, "--output"},
		"a pod VM without a name":            {[]string{"podvm", "inspect"}, "1 arg"},
		"a console's tail that is none":      {[]string{"podvm", "console", "web", "--tail", "-2"}, "--tail -2"},
		"a removal without time":             {[]string{"podvm", "rm", "web", "--timeout", "0s"}, "--timeout 0s"},
		"a node without its files":           {[]string{"node"}, "--config"},
		"a name that no image has":           {[]string{"image", "pull", "Bad Name"}, `"Bad Name"`},
		"an import with such a name":         {[]string{"image", "import", "hello.tar", "Bad Name"}, `"Bad Name"`},
		"a limit without a quantity":         {[]string{"image", "import", "hello.tar", "--image-limit", "bytes"}, `"bytes" for "--image-limit" flag: it is not of the form NAME=QUANTITY`},
		"a limit of no quantity":             {[]string{"image", "import", "hello.tar", "--image-limit", "bytes=lots"}, "--image-limit"},
		"a limit of half an entry":           {[]string{"image", "import", "hello.tar", "--image-limit", "entries=0.5"}, "--image-limit: entries: 500m is not a whole number"},
		"a limit that is none":               {[]string{"image", "import", "hello.tar", "--image-limit", "size=1"}, "--image-limit: size: no such limit"},
		"a limit that is too much":           {[]string{"up", "--image-limit", "depth=3000"}, "--image-limit: depth: 3000 is not within 1 and 2047"},
		"credentials without programs":       {[]string{"up", "--image-credential-provider-config", "/none"}, "--image-credential-provider-bin-dir: missing"},
		"programs without credentials":       {[]string{"up", "--image-credential-provider-bin-dir", "/none"}, "--image-credential-provider-config: missing"},
		"credentials that are not there":     {[]string{"up", "--image-credential-provider-bin-dir", "/", "--image-credential-provider-config", "/none"}, "/none"},
		"an empty directory":                 {[]string{"up", "--dir", ""}, "--dir: missing"},
		"a limit of processors below zero":   {[]string{"vch", "create", "--cpu-limit", "-1"}, "--cpu-limit -1"},
		"a user without a password":          {[]string{"vch", "check", "--user", "u"}, "--password-file"},
		"a VCH without a file":               {[]string{"vch", "ls"}, "--config is needed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			t.Setenv("XDG_STATE_HOME", dir)
			_, err := execute(t, tt.args...)
			var misuse *cli.MisuseError
			require.ErrorAs(t, err, &misuse)
			require.ErrorContains(t, err, tt.says)
			assert.NoDirExists(t, dir, "nothing is touched")
		})
	}
}

func TestEnvironmentSetsFlags(t *testing.T) {
	t.Setenv("VIC_API_PORT", "99999")
	_, err := execute(t, "up")
	require.ErrorContains(t, err, "--api-port: 99999")
	_, err = execute(t, "up", "--api-port", "77777")
	require.ErrorContains(t, err, "--api-port: 77777", "the flag wins")

	t.Setenv("VIC_API_PORT", "many")
	_, err = execute(t, "up")
	require.ErrorContains(t, err, "VIC_API_PORT")
}

func TestTheEnvironmentWinsOverTheFileAndAFlagOverBoth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(file, []byte("kubeconfig: /file\naccel: kvm\nvch: {name: n}\n"), 0o600))
	tests := map[string]struct {
		env, flag, says string
	}{
		"a file":          {"", "", "--kubeconfig /file: "},
		"the environment": {"/env", "", "--kubeconfig /env: "},
		"a flag":          {"/env", "/flag", "--kubeconfig /flag: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			args := []string{"node", "--config", file}
			if tt.env != "" {
				t.Setenv("VIC_KUBECONFIG", tt.env)
			}
			if tt.flag != "" {
				args = append(args, "--kubeconfig", tt.flag)
			}
			_, err := execute(t, args...)
			require.ErrorContains(t, err, tt.says)
		})
	}
	t.Setenv("VIC_ACCEL", "warp")
	_, err := execute(t, "node", "--config", file)
	require.ErrorContains(t, err, `--accel: "warp" is not one of`, "what the environment says is named by its flag")
	t.Setenv("GOVC_URL", "other.example")
	t.Setenv("VIC_ACCEL", "tcg")
	require.NoError(t, os.WriteFile(file, []byte("guestListen: \":1\"\nvch: {name: n, subnet: 192.0.2.0/24, vsphere: {user: u, passwordFile: /p}}\n"), 0o600))
	_, err = execute(t, "node", "--config", file)
	require.ErrorContains(t, err, "vch.vsphere.address: missing", "a node takes nothing of govc's")
}

func TestAFlagThatMayBeRepeatedIsSetOnceByTheEnvironment(t *testing.T) {
	t.Setenv("VIC_INSECURE_REGISTRY", "http://r")
	_, err := execute(t, "up", "--dir", filepath.Join(t.TempDir(), "s"))
	require.ErrorContains(t, err, `--insecure-registry: "http://r"`)
	t.Setenv("VIC_KEEP_PODS", "maybe")
	_, err = execute(t, "up", "--dir", filepath.Join(t.TempDir(), "s"))
	require.ErrorContains(t, err, "environment variable VIC_KEEP_PODS: ")
}

func TestLogLinesHaveTheFormAndTheLevelThatTheUserWants(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"text":       {nil, `^time=\S+ level=INFO msg=started node=n\n$`},
		"JSON":       {[]string{"--log-format", "json"}, `^{"time":"\S+","level":"INFO","msg":"started","node":"n"}\n$`},
		"more lines": {[]string{"--log-level", "debug"}, `level=INFO msg=started node=n\n.*level=DEBUG msg=looked\n$`},
		"fewer":      {[]string{"--log-level", "warn"}, `^$`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			vic := root.NewCommand()
			vic.AddCommand(&cobra.Command{Use: "try", Short: "Log", Run: func(cmd *cobra.Command, _ []string) {
				ctx := cmd.Context()
				logging.From(ctx).InfoContext(ctx, "started", "node", "n")
				logging.From(ctx).DebugContext(ctx, "looked")
			}})
			out, err := clitest.Execute(t, vic, append([]string{"try"}, tt.args...)...)
			require.NoError(t, err)
			assert.Regexp(t, "(?s)"+tt.want, out)
		})
	}
}

func TestAnErrorOfAKubernetesLibraryIsAWarning(t *testing.T) {
	vic := root.NewCommand()
	vic.AddCommand(&cobra.Command{Use: "try", Short: "Fail", Run: func(cmd *cobra.Command, _ []string) {
		utilruntime.HandleErrorWithContext(cmd.Context(), errors.New("broken pipe"), "stream", "pod", "p")
		klog.InfoS("as client-go says it") // at debug alone
	}})
	out, err := clitest.Execute(t, vic, "try")
	require.NoError(t, err)
	assert.Regexp(t, `^time=\S+ level=WARN msg="error of a Kubernetes library" message=stream err="broken pipe" pod=p\n$`, out)
}

func TestTheVersionIsShown(t *testing.T) {
	out, err := execute(t, "--version")
	require.NoError(t, err)
	assert.Equal(t, "vic version "+version.Version+"\n", out)
}

func TestHelpSaysWhatACommandIsFor(t *testing.T) {
	tests := map[string][]string{
		"":               {"vic makes a virtual container host a Kubernetes node", "--api-port is VIC_API_PORT", "--log-format string", "up ", "node ", "vch ", "podvm ", "image "},
		"up":             {"Everything is kept under one directory (--dir)", "--keep-pods", "--kubelet-port", "--vsphere-simulator"},
		"node":           {"A flag wins over the environment, the environment over the file.", "--config FILE", "--kubeconfig FILE"},
		"vch":            {"check ", "create ", "ls ", "inspect ", "rm "},
		"vch create":     {"What exists already stays as it is.", "--boot-iso FILE", "--dry-run", "--cpu-limit MHz"},
		"vch rm":         {"The boot ISO stays."},
		"vch check":      {"It changes nothing"},
		"podvm":          {"ls ", "inspect ", "console ", "rm "},
		"podvm rm":       {"--force", "[NAMESPACE/]POD|UID"},
		"podvm console":  {"--follow", "--raw", "--tail int"},
		"image":          {"import ", "pull ", "ls ", "rm ", "prune "},
		"image pull":     {"--authfile FILE", "--quiet", "--registry-mirror HOST=URL"},
		"image prune":    {"--all", "--dry-run"},
		"image import":   {"FILE-or-OCI-LAYOUT [NAME]"},
		"image rm":       {"NAME-or-ID..."},
		"podvm inspect":  {"text, json, yaml"},
		"vch inspect":    {"--node NAME"},
		"image ls":       {"table, json"},
		"vch ls":         {"It needs no API server."},
		"podvm ls":       {"needs no API server"},
		"completion zsh": {"zsh"},
	}
	for command, wanted := range tests {
		t.Run(command, func(t *testing.T) {
			out, err := execute(t, append(strings.Fields(command), "--help")...)
			require.NoError(t, err)
			for _, text := range wanted {
				assert.Contains(t, out, text)
			}
		})
	}
}

func TestListsOfAnAbsentDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	for _, args := range [][]string{{"podvm", "ls"}, {"image", "ls"}, {"image", "rm", "hello"}, {"image", "prune"}, {"simulated-vcenter"}} {
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

func TestACommandWithoutASubcommandShowsItsHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"image"}, {"podvm"}, {"vch"}} {
		out, err := execute(t, args...)
		require.NoError(t, err)
		assert.Contains(t, out, "Available Commands:")
		assert.NotContains(t, out, "simulated-vcenter", "it is not for people")
	}
}

// TestEveryFlagSaysWhatItIs holds --help and docs/settings.md, which are made of the same texts, to their form.
func TestEveryFlagSaysWhatItIs(t *testing.T) {
	each(root.NewCommand(), func(cmd *cobra.Command) {
		assert.NotEmpty(t, cmd.Short, cmd.CommandPath())
		assert.NotRegexp(t, `\.$`, cmd.Short, cmd.CommandPath())
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			assert.NotEmpty(t, f.Usage, "%s --%s", cmd.CommandPath(), f.Name)
			assert.NotRegexp(t, `\.$|^[A-Z][a-z]`, f.Usage, "%s --%s", cmd.CommandPath(), f.Name)
		})
	})
}

// each calls do with a command and all below it.
func each(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands() {
		each(sub, do)
	}
}
