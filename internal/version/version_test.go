package version_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/version"
)

// libraries is the version of Kubernetes' libraries, which begin with v0 where Kubernetes itself begins with v1.
var libraries = strings.Replace(version.Kubernetes, "v1.", "v0.", 1)

func TestEveryModuleIsOfTheVersionThatNodesShow(t *testing.T) {
	tests := map[string]struct {
		file, module, want string
	}{
		"the libraries of vic":          {"../../go.mod", "k8s.io/api", libraries},
		"the control plane":             {"../../controlplane/go.mod", "k8s.io/kubernetes", version.Kubernetes},
		"the control plane's libraries": {"../../controlplane/go.mod", "k8s.io/component-base", libraries},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, []string{tt.want}, required(t, tt.file, tt.module))
		})
	}
}

// required returns the versions at which a go.mod has a module, each once: where it is required and where it is replaced.
func required(t *testing.T, file, module string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var versions []string
	for _, m := range regexp.MustCompile(`(?m)^.*\b`+regexp.QuoteMeta(module)+` (v\S+)`).FindAllStringSubmatch(string(text), -1) {
		if len(versions) == 0 || versions[len(versions)-1] != m[1] {
			versions = append(versions, m[1])
		}
	}
	return versions
}

func TestTheControlPlaneIsBuiltAsTheVersionThatNodesShow(t *testing.T) {
	make := exec.CommandContext(t.Context(), "make", "--no-print-directory", "--dry-run", "-C", "../..", "bin/vic-controlplane", "lint")
	make.Env = append(os.Environ(), "MAKEFLAGS=")
	commands, err := make.Output()
	require.NoError(t, err)
	_, minor, _ := strings.Cut(version.KubernetesMinor, ".")
	for _, want := range []string{"gitVersion=" + version.Kubernetes + " ", "gitMinor=" + minor + " ", "--kube-version " + strings.TrimPrefix(version.Kubernetes, "v")} {
		assert.Contains(t, string(commands), want)
	}
}
