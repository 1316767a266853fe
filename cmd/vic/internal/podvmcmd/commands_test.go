package podvmcmd_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmcmd"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/portlayer"
)

// podvm runs `vic podvm` on a state directory.
func podvm(t *testing.T, s clitest.State, args ...string) (string, error) {
	t.Helper()
	return clitest.Execute(t, podvmcmd.NewCommand(), append(args, "--dir", s.Path)...)
}

// web is a VM with a network interface and disks.
func web() portlayer.Spec {
	spec := clitest.PodVM("default", "web", "u-web")
	spec.Owner.Generation = 7
	spec.NICs = []portlayer.NIC{{
		Scope: "bridge", MAC: "02:00:00:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.8.2/24")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.9.8.1")},
	}}
	spec.Disks = []portlayer.Disk{{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 10 << 30}}
	return spec
}

func TestPodVMsAreListed(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	s.PutVM(clitest.PodVM("batch", "job", "u-job"))
	out, err := podvm(t, s, "ls")
	require.NoError(t, err)
	assert.Regexp(t, `^NAMESPACE +NAME +STATE +IP +PID +MEMORY +AGE +UID
batch +job +stopped +- +192Mi +\S+ +u-job
default +web +stopped +10\.9\.8\.2 +- +192Mi +\S+ +u-web
$`, out)
	out, err = podvm(t, s, "ls", "-o", "json")
	require.NoError(t, err)
	var views []map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &views))
	require.Len(t, views, 2)
	assert.Equal(t, "u-job", views[0]["uid"])

	s.PutFile("u-web", "vm.json", `{"format": 99}`)
	_, err = podvm(t, s, "ls")
	require.ErrorContains(t, err, "vm.json", "a record of another program is named")
}

func TestAPodVMWhoseRecordIsDamagedIsNamedAndRemoved(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	s.PutVM(clitest.PodVM("batch", "job", "u-job"))
	s.PutFile("u-job", "vm.json", "{half")
	out, err := podvm(t, s, "ls")
	require.NoError(t, err)
	assert.Contains(t, out, "u-web")
	_, err = podvm(t, s, "inspect", "u-job")
	require.ErrorContains(t, err, "record of VM u-job: ")
	out, err = podvm(t, s, "rm", "u-job")
	require.NoError(t, err)
	assert.Contains(t, out, "removed pod VM u-job, whose record could not be read")
	assert.NoDirExists(t, filepath.Join(s.VCH(), "vms", "u-job"))
}

func TestAPodVMIsInspected(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	s.PutFile("u-web", "console.log", "booting\n")
	out, err := podvm(t, s, "inspect", "web")
	require.NoError(t, err)
	for _, line := range []string{
		`Pod +default/web`, `UID +u-web`, `Node +vic-local`, `State +stopped`, `Stopped because +power failed`, `Created +2026-01-02T03:04:05Z`,
		`Held by +no vic runs that has it`, `Size +2 CPUs, 192 MiB`, `Interface +10\.9\.8\.2/24, 02:00:00:00:00:01, gateway 10\.9\.8\.1, scope bridge`,
		`Disk +scratch, scratch, 0 MiB of 10240 MiB used: \S+`, `Console +8 bytes kept \(vic podvm console u-web\)`, `Guest +has said nothing yet`,
	} {
		assert.Regexp(t, "(?m)^"+line+"$", out)
	}
	letGo := s.Hold("u-web")
	defer letGo()
	out, err = podvm(t, s, "inspect", "u-web")
	require.NoError(t, err)
	assert.Regexp(t, "(?m)^Held by +a vic that runs$", out)
}

func TestTheGuestsWordsDoNotSteerTheTerminal(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	require.NoError(t, s.Run("u-web").SaveSnapshot(&wire.Snapshot{
		BootID: "boot\x1b[2J-1", Phase: "Running", Time: time.Date(2026, 1, 2, 3, 4, 7, 0, time.UTC),
		Containers: []wire.ContainerStatus{
			{Name: "app", State: wire.ContainerTerminated, RestartCount: 2, Current: &wire.Terminated{Reason: "Err\x1b]0;owned\x07or", ExitCode: 3}},
			{Name: "side", State: wire.ContainerWaiting, Reason: wire.ReasonCrashLoopBackOff},
		},
	}))
	out, err := podvm(t, s, "inspect", "web")
	require.NoError(t, err)
	assert.NotContains(t, out, "\x1b")
	assert.Regexp(t, `(?m)^Guest +Running at 2026-01-02T03:04:07Z, boot boot-1$`, out)
	assert.Regexp(t, `(?m)^Container +app terminated, Error, exit code 3, 2 restarts$`, out)
	assert.Regexp(t, `(?m)^Container +side waiting, CrashLoopBackOff, 0 restarts$`, out)
}

func TestScriptsReadAPodVMAsJSONAndYAML(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	for form, parse := range map[string]func([]byte, *map[string]any) error{
		"json": func(text []byte, to *map[string]any) error { return json.Unmarshal(text, to) },
		"yaml": func(text []byte, to *map[string]any) error { return yaml.Unmarshal(text, to) },
	} {
		out, err := podvm(t, s, "inspect", "default/web", "-o", form)
		require.NoError(t, err)
		var view map[string]any
		require.NoError(t, parse([]byte(out), &view))
		assert.Equal(t, "u-web", view["uid"])
		assert.EqualValues(t, 7, view["generation"])
		assert.EqualValues(t, 3, view["version"])
		assert.Equal(t, false, view["held"])
		assert.Equal(t, "power failed", view["stopReason"])
		assert.Len(t, view["disks"], 1)
		assert.Len(t, view["interfaces"], 1)
	}
}

func TestTheConsoleIsShownWithoutSequences(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	s.PutFile("u-web", "console.log.1", "one\n")
	s.PutFile("u-web", "console.log", "\x1b[31mtwo\x1b[0m\nthree\n")
	tests := map[string]struct {
		args []string
		want string
	}{
		"all that is kept":       {nil, "one\ntwo\nthree\n"},
		"the end":                {[]string{"--tail", "2"}, "two\nthree\n"},
		"nothing":                {[]string{"--tail", "0"}, ""},
		"as the guest wrote it":  {[]string{"--raw", "--tail", "2"}, "\x1b[31mtwo\x1b[0m\nthree\n"},
		"until the VM ends":      {[]string{"--follow"}, "one\ntwo\nthree\n"},
		"a VM by its UID":        {[]string{"--tail", "1"}, "three\n"},
		"a short form of follow": {[]string{"-f", "--tail", "1"}, "three\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := podvm(t, s, append([]string{"console", "u-web"}, tt.args...)...)
			require.NoError(t, err)
			assert.Equal(t, tt.want, out)
		})
	}
	_, err := podvm(t, s, "console", "none")
	require.ErrorContains(t, err, `there is no pod VM "none"`)
}

func TestAVMThatNobodyHasIsRemovedWithItsRecords(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	require.NoError(t, s.Run("u-web").SaveVM(portlayer.VM{Spec: web()}))
	out, err := podvm(t, s, "rm", "web")
	require.NoError(t, err)
	assert.Equal(t, "removed pod VM u-web of pod default/web, its disks and its records; if the API server still has the pod, the next vic makes it anew\n", out)
	assert.NoDirExists(t, filepath.Join(s.VCH(), "vms", "u-web"))
	assert.NoDirExists(t, filepath.Join(s.Runs(), "u-web"))
	_, err = podvm(t, s, "rm", "web")
	require.ErrorContains(t, err, `there is no pod VM "web"`)
}

// serveAPI serves pods as an API server does, and writes a kubeconfig for it. asked is called before each answer.
func serveAPI(t *testing.T, asked func(), pods ...corev1.Pod) string {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked()
		w.Header().Set("Content-Type", "application/json")
		for i := range pods {
			if r.URL.Path == "/api/v1/namespaces/"+pods[i].Namespace+"/pods/"+pods[i].Name {
				_ = json.NewEncoder(w).Encode(pods[i]) // a client that is gone needs no answer
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{ // as above
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound,
		})
	}))
	t.Cleanup(api.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: api.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, path))
	return path
}

// wanted is the pod of web as an API server has it.
func wanted(uid types.UID) corev1.Pod {
	return corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: uid}}
}

func TestAVMThatAVICHasIsRemovedOnlyWhenItsPodIsGone(t *testing.T) {
	deleted := wanted("u-web")
	deleted.DeletionTimestamp = new(metav1.Now())
	pods := func(pods ...corev1.Pod) []corev1.Pod { return pods }
	tests := map[string]struct {
		pods    []corev1.Pod // nil: the API server is not known
		force   bool
		refused string
		says    string
	}{
		"its pod is wanted":            {pods(wanted("u-web")), false, "pod default/web is still wanted, and a running vic has its VM: use `kubectl -n default delete pod web`", ""},
		"its pod is wanted, and force": {pods(wanted("u-web")), true, "", "the vic that runs goes on with pod default/web as its restart policy says\n"},
		"its pod is gone":              {[]corev1.Pod{}, false, "", "pod VM u-web of pod default/web was removed by the vic that runs\n"},
		"its pod is another one":       {pods(wanted("u-other")), false, "", "was removed by the vic that runs\n"},
		"its pod is being deleted":     {pods(deleted), false, "", "was removed by the vic that runs\n"},
		"nobody knows":                 {nil, false, "nobody knows whether its pod is still wanted (--force ends the VM all the same): read --kubeconfig /none", ""},
		"nobody knows, and force":      {nil, true, "", "the vic that runs goes on with pod default/web"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := clitest.NewState(t)
			s.PutVM(web())
			defer s.Hold("u-web")()
			kubeconfig := "/none"
			if tt.pods != nil {
				kubeconfig = serveAPI(t, func() {
					if tt.refused == "" { // the vic that runs removes it
						assert.NoError(t, os.RemoveAll(filepath.Join(s.VCH(), "vms", "u-web")))
					}
				}, tt.pods...)
			}
			args := []string{"rm", "web", "--kubeconfig", kubeconfig}
			if tt.force {
				args = append(args, "--force")
			}
			out, err := podvm(t, s, args...)
			if tt.refused != "" {
				require.ErrorContains(t, err, tt.refused)
				assert.DirExists(t, filepath.Join(s.VCH(), "vms", "u-web"))
				return
			}
			require.NoError(t, err)
			assert.Contains(t, out, tt.says)
		})
	}
}

func TestTheStateDirectorysClusterIsAskedByDefault(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	defer s.Hold("u-web")()
	_, err := podvm(t, s, "rm", "web")
	require.ErrorContains(t, err, "read --kubeconfig "+s.Kubeconfig())
}

func TestARemovalDoesNotWaitForever(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	defer s.Hold("u-web")()
	_, err := podvm(t, s, "rm", "web", "--kubeconfig", serveAPI(t, func() {}), "--timeout", "100ms")
	require.ErrorContains(t, err, "it was not done within 100ms (--timeout)")
}

func TestAConsoleIsFollowedUntilItsVMEnds(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	s.PutFile("u-web", "console.log", "one\n")
	alive, err := filelock.Try(filepath.Join(s.VCH(), "vms", "u-web", "alive"))
	require.NoError(t, err)
	out := &lines{seen: make(chan string, 10)}
	cmd := podvmcmd.NewCommand()
	cmd.SetOut(out)
	cmd.SetArgs([]string{"console", "web", "-f", "--dir", s.Path})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(t.Context()) }()
	assert.Equal(t, "one\n", <-out.seen)
	console, err := os.OpenFile(filepath.Join(s.VCH(), "vms", "u-web", "console.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer console.Close()
	_, err = console.WriteString("two\n")
	require.NoError(t, err)
	assert.Equal(t, "two\n", <-out.seen)
	_, err = console.WriteString("last words\n")
	require.NoError(t, err)
	require.NoError(t, alive.Close(), "the VM ends")
	assert.Equal(t, "last words\n", <-out.seen)
	require.NoError(t, <-ended)
}

func TestAConsoleThatIsFollowedEndsWithTheUsersPatience(t *testing.T) {
	s := clitest.NewState(t)
	s.PutVM(web())
	s.PutFile("u-web", "console.log", "one\n")
	alive, err := filelock.Try(filepath.Join(s.VCH(), "vms", "u-web", "alive"))
	require.NoError(t, err)
	defer alive.Close()
	out := &lines{seen: make(chan string, 10)}
	cmd := podvmcmd.NewCommand()
	cmd.SetOut(out)
	cmd.SetArgs([]string{"console", "web", "-f", "--dir", s.Path})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	<-out.seen
	cancel()
	require.NoError(t, <-ended, "the user has seen enough")
}

// lines sends what is written.
type lines struct{ seen chan string }

func (l *lines) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.seen <- string(b)
	}
	return len(b), nil
}
