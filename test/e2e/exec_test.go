//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

// protocols are what carries streams between a client and the API server, each with kubectl's setting.
var protocols = map[string]string{"WebSocket": "true", "SPDY": "false"}

// over makes kubectl speak one of the protocols.
func over(cmd *exec.Cmd, protocol string) *exec.Cmd {
	cmd.Env = append(cmd.Environ(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+protocols[protocol], "KUBECTL_PORT_FORWARD_WEBSOCKETS="+protocols[protocol])
	return cmd
}

// process runs exec or attach as kubectl does, in this process.
func (c *cluster) process(ctx context.Context, protocol string, p *corev1.Pod, options runtime.Object, streams remotecommand.StreamOptions) error {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig())
	if err != nil {
		return err
	}
	verb := "exec"
	if _, ok := options.(*corev1.PodAttachOptions); ok {
		verb = "attach"
	}
	u := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource(verb).
		VersionedParams(options, scheme.ParameterCodec).URL()
	var executor remotecommand.Executor
	if protocol == "SPDY" {
		executor, err = remotecommand.NewSPDYExecutor(config, http.MethodPost, u)
	} else {
		executor, err = remotecommand.NewWebSocketExecutor(config, http.MethodGet, u.String())
	}
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, streams)
}

// exitCode runs a command and returns its exit code.
func (c *cluster) exitCode(ctx context.Context, protocol string, p *corev1.Pod, command ...string) (int, error) {
	var out bytes.Buffer
	err := c.process(ctx, protocol, p, &corev1.PodExecOptions{Container: "main", Command: command, Stdout: true, Stderr: true},
		remotecommand.StreamOptions{Stdout: &out, Stderr: &out})
	if exit, ok := errors.AsType[utilexec.CodeExitError](err); ok {
		return exit.Code, nil
	}
	return 0, err
}

// endless is an input without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestExecReportsHowItEnded(t *testing.T) {
	ns := shared.namespace(t)
	p := shared.waitReady(t, shared.create(t, pod(ns, "exec", sleepForever)))
	tests := map[string]struct {
		command []string
		code    int
		says    string
	}{
		"success":                      {[]string{"true"}, 0, ""},
		"failure":                      {[]string{"false"}, 1, "command terminated with exit code 1"},
		"a code":                       {[]string{"sh", "-c", "exit 42"}, 42, "command terminated with exit code 42"},
		"the highest code":             {[]string{"sh", "-c", "exit 255"}, 255, "command terminated with exit code 255"},
		"a signal":                     {[]string{"sh", "-c", "kill -9 $$"}, 137, "command terminated with exit code 137"},
		"a command that is not":        {[]string{"nosuch"}, 127, `exec: "nosuch": executable file not found in $PATH`},
		"a file that is not":           {[]string{"/no/such"}, 127, `exec: "/no/such": stat /no/such: no such file or directory`},
		"a file that is not a program": {[]string{"/etc/passwd"}, 126, `exec: "/etc/passwd": permission denied`},
		"a directory":                  {[]string{"/etc"}, 126, `exec: "/etc": permission denied`},
	}
	t.Run("over", func(t *testing.T) { // ends when all that run beside each other have
		for protocol := range protocols {
			for name, tt := range tests {
				t.Run(protocol+"/"+name, func(t *testing.T) {
					t.Parallel()
					cmd := over(shared.kubectlCommand(t.Context(), append([]string{"-n", ns, "exec", "exec", "--"}, tt.command...)...), protocol)
					out, err := cmd.CombinedOutput()
					if _, ended := errors.AsType[*exec.ExitError](err); !ended {
						require.NoError(t, err)
					}
					assert.Equal(t, tt.code, cmd.ProcessState.ExitCode())
					assert.Contains(t, string(out), tt.says)
				})
			}
			t.Run(protocol+"/a code, while the input goes on", func(t *testing.T) {
				t.Parallel()
				for i := range 3 {
					err := shared.process(t.Context(), protocol, p,
						&corev1.PodExecOptions{Container: "main", Command: []string{"sh", "-c", "exit 7"}, Stdin: true, Stdout: true, Stderr: true},
						remotecommand.StreamOptions{Stdin: endless{}, Stdout: io.Discard, Stderr: io.Discard})
					var exit utilexec.CodeExitError
					require.ErrorAs(t, err, &exit, "exec %d", i)
					assert.Equal(t, 7, exit.Code)
				}
			})
			t.Run(protocol+"/a container that does not run", func(t *testing.T) {
				t.Parallel()
				name := "waits-" + strings.ToLower(protocol)
				waits := shared.create(t, pod(ns, name, "true", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "127.0.0.1:1/absent:1" }))
				shared.waitPod(t, waits, "waits for its image", func(p *corev1.Pod) bool {
					return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting.Reason != "ContainerCreating"
				})
				for _, verb := range [][]string{{"exec", name, "--", "true"}, {"attach", name}} {
					out, err := over(shared.kubectlCommand(t.Context(), append([]string{"-n", ns}, verb...)...), protocol).CombinedOutput()
					require.Error(t, err)
					assert.Contains(t, string(out), `container not found ("main")`)
					assert.LessOrEqual(t, strings.Count(string(out), "nternal error"), 1)
				}
			})
		}
	})
	assert.NotContains(t, shared.out.String(), "Unhandled Error")
	assert.Equal(t, p.UID, shared.waitReady(t, p).UID)
}

// execMany runs count short commands and requires that each returns its own exit code.
func execMany(t *testing.T, ns string, count int) {
	t.Helper()
	const parallel = 8
	p := shared.waitReady(t, shared.create(t, pod(ns, "many", sleepForever, func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")} // processors of the VM
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	})))
	names := slices.Sorted(maps.Keys(protocols))
	begin := time.Now()
	var running sync.WaitGroup
	var ran atomic.Int64
	for worker := range parallel {
		running.Go(func() {
			for i := worker; i < count; i += parallel {
				code, err := shared.exitCode(t.Context(), names[i%len(names)], p, "sh", "-c", fmt.Sprintf("exit %d", i%256))
				assert.NoError(t, err, "exec %d", i) //nolint:testifylint // not the test's goroutine
				assert.Equal(t, i%256, code, "exec %d", i)
				if done := ran.Add(1); done%1000 == 0 {
					t.Logf("%d execs in %s", done, time.Since(begin).Round(time.Second))
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d execs in %s", count, time.Since(begin).Round(time.Second))
	assert.Zero(t, restarts(shared.waitReady(t, p)))
}

func TestEachOfManyShortExecsReportsItsCode(t *testing.T) {
	t.Parallel()
	execMany(t, shared.namespace(t), 40)
}
