package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
)

// all returns settings with every group of flags that there is.
func all() (*cli.Settings, *pflag.FlagSet) {
	flags := pflag.NewFlagSet("vic", pflag.ContinueOnError)
	n := config.DefaultNode()
	n.VCH = &config.Entry{Name: "n"}
	s := cli.NewSettings(flags, n)
	s.Kubeconfig()
	s.Dir()
	s.Process()
	s.Images()
	s.Registries()
	s.Credentials()
	s.ImageLimits()
	s.VCH()
	return s, flags
}

// TestEveryFlagFillsItsField sets each flag by itself, and finds it where the path of its field says.
func TestEveryFlagFillsItsField(t *testing.T) {
	tests := map[string]struct {
		value, key string
		get        func(n *config.Node) any
		want       any
	}{
		"kubeconfig":                          {"/k", "kubeconfig", func(n *config.Node) any { return n.Kubeconfig }, "/k"},
		"dir":                                 {"/d", "dir", func(n *config.Node) any { return n.Dir }, "/d"},
		"accel":                               {"tcg", "accel", func(n *config.Node) any { return n.Accelerator }, "tcg"},
		"guest-image":                         {"/g", "guestImage", func(n *config.Node) any { return n.GuestImage }, "/g"},
		"tracing-endpoint":                    {"c:1", "tracingEndpoint", func(n *config.Node) any { return n.TracingEndpoint }, "c:1"},
		"eviction-pressure-transition-period": {"30s", "evictionPressureTransitionPeriod", func(n *config.Node) any { return n.EvictionPressureTransitionPeriod.Duration.String() }, "30s"},
		"container-log-max-size":              {"1Mi", "containerLogMaxSize", func(n *config.Node) any { return n.ContainerLogMaxSize.String() }, "1Mi"},
		"container-log-max-files":             {"9", "containerLogMaxFiles", func(n *config.Node) any { return n.ContainerLogMaxFiles }, int32(9)},
		"image-gc-high-threshold":             {"9", "imageGCHighThresholdPercent", func(n *config.Node) any { return n.ImageGCHighThresholdPercent }, int32(9)},
		"image-gc-low-threshold":              {"9", "imageGCLowThresholdPercent", func(n *config.Node) any { return n.ImageGCLowThresholdPercent }, int32(9)},
		"minimum-image-ttl-duration":          {"30s", "imageMinimumGCAge", func(n *config.Node) any { return n.ImageMinimumGCAge.Duration.String() }, "30s"},
		"image-gc-period":                     {"30s", "imageGCPeriod", func(n *config.Node) any { return n.ImageGCPeriod.Duration.String() }, "30s"},
		"insecure-registry":                   {"r:1", "insecureRegistries", func(n *config.Node) any { return n.InsecureRegistries }, []string{"r:1"}},
		"registry-mirror":                     {"r=https://m", "registryMirrors", func(n *config.Node) any { return n.RegistryMirrors }, map[string]string{"r": "https://m"}},
		"registry-hosts-dir":                  {"/h", "registryHostsDir", func(n *config.Node) any { return n.RegistryHostsDir }, "/h"},
		"image-credential-provider-config":    {"/c", "imageCredentialProviderConfig", func(n *config.Node) any { return n.ImageCredentialProviderConfig }, "/c"},
		"image-credential-provider-bin-dir":   {"/b", "imageCredentialProviderBinDir", func(n *config.Node) any { return n.ImageCredentialProviderBinDir }, "/b"},
		"image-limit":                         {"bytes=1Gi", "imageLimits", func(n *config.Node) any { q := n.ImageLimits["bytes"]; return q.String() }, "1Gi"},
		"node-name":                           {"m", "name", func(n *config.Node) any { return n.VCH.Name }, "m"},
		"kubelet-port":                        {"8443", "port", func(n *config.Node) any { return n.VCH.Port }, int32(8443)},
		"cpu":                                 {"4", "limits.cpu", func(n *config.Node) any { return n.VCH.Limits.Cpu().String() }, "4"},
		"memory":                              {"8Gi", "limits.memory", func(n *config.Node) any { return n.VCH.Limits.Memory().String() }, "8Gi"},
		"ephemeral-storage":                   {"9Gi", "limits.ephemeral-storage", func(n *config.Node) any { return n.VCH.Limits.StorageEphemeral().String() }, "9Gi"},
		"pods":                                {"30", "limits.pods", func(n *config.Node) any { return n.VCH.Limits.Pods().String() }, "30"},
		"reserved":                            {"cpu=1", "reserved", func(n *config.Node) any { return n.VCH.Reserved.Cpu().String() }, "1"},
	}
	_, flags := all()
	flags.VisitAll(func(f *pflag.Flag) { assert.Contains(t, tests, f.Name, "a flag without a test") })
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, flags := all()
			require.NotEqual(t, tt.want, tt.get(s.Node), "its default is another")
			require.NoError(t, flags.Parse([]string{"--" + name, tt.value}))
			assert.Equal(t, tt.want, tt.get(s.Node))
			assert.Equal(t, tt.key, cli.KeyOf(flags.Lookup(name)))
		})
	}
	assert.Empty(t, cli.KeyOf(&pflag.Flag{}))
}

func TestAValueThatIsNoneIsRefusedByItsFlag(t *testing.T) {
	for flag, value := range map[string]string{
		"container-log-max-size": "big", "memory": "0", "ephemeral-storage": "-1Gi", "cpu": "some", "pods": "x", "image-gc-period": "soon",
		"image-gc-high-threshold": "x", "registry-mirror": "docker.io", "image-limit": "=1", "reserved": "cpu", "kubelet-port": "x",
	} {
		_, flags := all()
		err := flags.Parse([]string{"--" + flag, value})
		require.ErrorContains(t, err, "--"+flag)
		require.ErrorContains(t, err, value)
	}
}

func TestAnAmountOfZeroTakesBackWhatWasGiven(t *testing.T) {
	s, flags := all()
	require.NoError(t, flags.Parse([]string{"--cpu", "4", "--pods", "9", "--cpu", "0"}))
	assert.Equal(t, corev1.ResourceList{corev1.ResourcePods: resource.MustParse("9")}, s.Node.VCH.Limits)
}

func TestDefaultsAreShownWhereThereAreSome(t *testing.T) {
	_, flags := all()
	usage := flags.FlagUsages()
	for _, line := range []string{
		`--accel string +QEMU's accelerator: .* \(default "?auto"?\)`, `--container-log-max-size size .* \(default 10Mi\)`, `--image-gc-period duration .* \(default 5m0s\)`,
		`--image-gc-high-threshold int32 .* \(default 85\)`, `--insecure-registry HOST:PORT +HOST:PORT of`,
	} {
		assert.Regexp(t, line, usage)
	}
	assert.NotRegexp(t, `--(cpu|pods|memory|reserved|image-limit|kubelet-port) .*\(default [^t]`, usage, "no default to show")
}

// read returns the settings of a file below flags.
func read(t *testing.T, text string, args ...string) (*cli.Settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s, flags := all()
	require.NoError(t, flags.Parse(args))
	return s, s.ReadFile(path)
}

func TestWhatIsGivenWinsOverTheFile(t *testing.T) {
	s, err := read(t, "accel: kvm\ndir: /file\ncontainerLogMaxSize: 2Mi\ninsecureRegistries: [file:1, file:2]\nimageLimits: {bytes: 1Gi, layers: 9}",
		"--accel", "tcg", "--insecure-registry", "flag:1", "--image-limit", "bytes=2Gi", "--image-limit", "depth=9")
	require.NoError(t, err)
	n := s.Node
	assert.Equal(t, "tcg", n.Accelerator)
	assert.Equal(t, "/file", n.Dir)
	assert.Equal(t, "2Mi", n.ContainerLogMaxSize.String())
	assert.Equal(t, []string{"flag:1"}, n.InsecureRegistries, "a list is given as a whole")
	require.Len(t, n.ImageLimits, 2)
	bytes := n.ImageLimits["bytes"]
	assert.Equal(t, "2Gi", bytes.String())
	assert.Contains(t, n.ImageLimits, "depth")
}

func TestErrorsNameFlagsWhereFlagsWereGiven(t *testing.T) {
	s, err := read(t, "accel: warp\ncontainerLogMaxFiles: 1", "--container-log-max-size", "1", "--image-limit", "bytes=0")
	require.NoError(t, err)
	named := s.Name(s.Node.CheckProcess())
	var misuse *cli.MisuseError
	require.ErrorAs(t, named, &misuse)
	for _, says := range []string{
		`accel: "warp" is not one of`, "--container-log-max-size: 1 is less than 64Ki", "containerLogMaxFiles: 1 is less than 2", "--image-limit: bytes: 0 is not a whole number",
	} {
		require.ErrorContains(t, named, says)
	}
	other := os.ErrNotExist
	assert.Equal(t, other, s.Name(other), "what is not a setting is left as it is")
	require.NoError(t, s.Name(nil))
}

func TestAFileThatCannotBeReadIsNamed(t *testing.T) {
	s, err := read(t, "shoeSize: 9")
	var misuse *cli.MisuseError
	require.ErrorAs(t, err, &misuse)
	require.ErrorContains(t, err, "node.yaml: shoeSize: unknown key")
	err = s.ReadFile("/none")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "--config: ")
}
