//go:build e2e && long

package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
)

func TestTenThousandShortExecs(t *testing.T) { execMany(t, shared.namespace(t), 10_000) }

func TestCopyOfAGibibyte(t *testing.T) { copyBothWays(t, shared.namespace(t), 1024) }

// What is idle is cut by the least patient of kubectl, the API server, the kubelet API and the link with the guest.
func TestAnIdleShellSurvivesTenMinutes(t *testing.T) {
	ns := shared.namespace(t)
	p := shared.waitReady(t, shared.create(t, pod(ns, "idle", sleepForever)))
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := shared.session(t, protocol, p, &corev1.PodExecOptions{Container: "main", Command: []string{"sh"}, Stdin: true, Stdout: true, TTY: true})
			s.enter(t, "x=kept; echo $((6*7))\n")
			s.expect(t, shared, "42\r\n")
			select {
			case err := <-s.ended:
				assert.Fail(t, "the shell ended", "%v: %s", err, s.out)
			case <-time.After(10 * time.Minute):
			}
			s.enter(t, "echo $x-$((40+2))\n")
			s.expect(t, shared, "kept-42\r\n")
			s.enter(t, "exit\n")
			assert.NoError(t, s.end(t))
		})
	}
}
