package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// complete returns the settings of a file with that text, and of flags.
func complete(t *testing.T, text string, args ...string) (*config.Node, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	var o options
	cmd := &cobra.Command{}
	o.add(cmd)
	require.NoError(t, cmd.ParseFlags(append(args, "--config", path)))
	return o.settings.Node, o.complete()
}

func TestAFlagWinsOverTheFile(t *testing.T) {
	n, err := complete(t, `
kubeconfig: /file
dir: /file
accel: kvm
imageGCPeriod: 1h
insecureRegistries: [file:1]
registryMirrors: {docker.io: "https://file.example", quay.io: "https://file.example"}
vch: {name: n}
`, "--kubeconfig", "/flag", "--accel", "tcg", "--insecure-registry", "a:1", "--insecure-registry", "b:2", "--registry-mirror", "docker.io=https://flag.example")
	require.NoError(t, err)
	assert.Equal(t, "/flag", n.Kubeconfig)
	assert.Equal(t, "/file", n.Dir, "what no flag says is the file's")
	assert.Equal(t, "tcg", n.Accelerator)
	assert.Equal(t, "1h0m0s", n.ImageGCPeriod.Duration.String())
	assert.Equal(t, []string{"a:1", "b:2"}, n.InsecureRegistries, "what is given takes the place of the file's")
	assert.Equal(t, map[string]string{"docker.io": "https://flag.example"}, n.RegistryMirrors)
	assert.EqualValues(t, 85, n.ImageGCHighThresholdPercent, "and what neither says is the default")
}

func TestWhatIsWrongIsNamedAsTheUserWroteIt(t *testing.T) {
	const file = "kubeconfig: /k\nvch: {name: n}\n"
	tests := map[string]struct {
		text string
		args []string
		says string
	}{
		"a key of the file":             {file + "accel: warp", nil, `accel: "warp" is not one of`},
		"a flag over a file":            {file + "accel: kvm", []string{"--accel", "warp"}, `--accel: "warp" is not one of`},
		"an entry":                      {"kubeconfig: /k\nvchs: [{name: n, port: -1}]", nil, "vchs[0].port: -1 is not a port"},
		"an unknown key":                {file + "shoeSize: 9", nil, "shoeSize: unknown key"},
		"a file that is named by a key": {file + "registryHostsDir: /none", nil, "registryHostsDir: "},
		"a program that is not there":   {file + "imageCredentialProviderConfig: /none\nimageCredentialProviderBinDir: /bin", nil, "imageCredentialProviderConfig: "},
		"a limit that is too much":      {file + "imageLimits: {depth: 3000}", nil, "imageLimits.depth: 3000 is not within 1 and 2047"},
		"a collector that is none":      {file + "tracingEndpoint: ftp://c", nil, "tracingEndpoint: "},
		"a credential that is missing":  {"vch: {name: n}", nil, "--kubeconfig is needed, or kubeconfig in --config"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := complete(t, tt.text, tt.args...)
			var misuse *cli.MisuseError
			require.ErrorAs(t, err, &misuse)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestAFileThatIsMissingIsNoMisuse(t *testing.T) {
	var o options
	cmd := &cobra.Command{}
	o.add(cmd)
	require.NoError(t, cmd.ParseFlags([]string{"--config", filepath.Join(t.TempDir(), "absent")}))
	err := o.complete()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "--config")
	var misuse *cli.MisuseError
	assert.NotErrorAs(t, err, &misuse)
}

func TestACredentialThatIsMissingIsNamed(t *testing.T) {
	n, err := complete(t, "kubeconfig: /none\nvch: {name: n}")
	require.NoError(t, err)
	o := options{settings: cli.NewSettings(nil, n)}
	require.ErrorContains(t, o.run(t.Context()), "--kubeconfig /none: ")
}

func TestObjectsOfTheClusterMayStandInTheFile(t *testing.T) {
	object, err := os.ReadFile("../../../../examples/virtualcontainerhost.yaml")
	require.NoError(t, err)
	n, err := complete(t, "kubeconfig: /k\nguestListen: \":7443\"\nnamespace: vic-system\n---\n"+string(object))
	require.NoError(t, err)
	require.Len(t, n.VCHs, 1)
	assert.Equal(t, "vic-vsphere-1", n.VCHs[0].NodeName)
	_, err = complete(t, string(object), "--kubeconfig", "/k")
	require.ErrorContains(t, err, "VirtualContainerHost vic-vsphere-1: spec.vsphere.guestListen: missing: guests dial in there, or at guestListen of the process")
}

func TestAnAPIServerThatDoesNotAnswerIsNamed(t *testing.T) {
	dir := t.TempDir()
	kubeconfig, image := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "guest")
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://127.0.0.1:1"}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, kubeconfig))
	require.NoError(t, os.Mkdir(image, 0o700))
	for _, name := range []string{"vmlinuz", "initrd.zst"} {
		require.NoError(t, os.WriteFile(filepath.Join(image, name), []byte("x"), 0o600))
	}
	text := "allowContainer: true\ndir: " + filepath.Join(dir, "state") + "\nkubeconfig: " + kubeconfig + "\nvch: {name: n}\n"
	n, err := complete(t, text, "--guest-image", image)
	require.NoError(t, err)
	o := options{settings: cli.NewSettings(nil, n)}
	require.ErrorContains(t, o.run(t.Context()), "API server https://127.0.0.1:1 (--kubeconfig) does not answer: ")
	n.GuestImage = "/none"
	require.ErrorContains(t, o.run(t.Context()), "guest image (--guest-image; make guest-image builds it): ")
	assert.NoDirExists(t, filepath.Join(dir, "state"))
}

func TestAProcessWhosePasswordIsRefusedDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := fmt.Errorf("log in: %w", vsphere.ErrLoginRefused)
		answers := []error{refused, refused, errBroken}
		began := time.Now()
		err := patiently(t.Context(), func(context.Context) error {
			err := answers[0]
			answers = answers[1:]
			return err
		})
		require.ErrorIs(t, err, errBroken)
		assert.Equal(t, 2*refusedAgain, time.Since(began))

		ctx, cancel := context.WithCancel(t.Context())
		err = patiently(ctx, func(context.Context) error { cancel(); return refused })
		require.ErrorIs(t, err, vsphere.ErrLoginRefused)
	})
}

var errBroken = errors.New("broken")
