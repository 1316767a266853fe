package operations_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/portlayer"
)

// loggedErrors are the texts of all errors that were logged. It is a slog.Handler that writes nothing.
type loggedErrors struct {
	mu  sync.Mutex // guards all
	all []string
}

func (*loggedErrors) Enabled(context.Context, slog.Level) bool { return true }

func (l *loggedErrors) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			l.all = append(l.all, err.Error())
		}
		return true
	})
	return nil
}

func (l *loggedErrors) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *loggedErrors) WithGroup(string) slog.Handler      { return l }

func (l *loggedErrors) texts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all...)
}

// identifiers are what texts of these tests may name. None is part of another.
func (n *node) identifiers() []string {
	all := []string{"pv-data", "pv-again", "disk-of-data", "disk-of-again", `"config"`}
	for i := range 6 {
		all = append(all, fmt.Sprintf("uid-%d", i))
	}
	for _, name := range []string{"app", "late", "first", "init", "sidecar", "debug", "barred", "other"} {
		for _, tag := range []string{"1", "2"} {
			img := imagestest.Image("example.com/" + name + ":" + tag)
			all = append(all, img.Names[0], strings.TrimPrefix(img.Digest, "sha256:"))
		}
	}
	return all
}

// checkTexts is part of every test on a node: no text that a user or an administrator reads says an identifier twice.
// Whoever acts names what it is about, and nobody above says that again.
func (n *node) checkTexts() {
	n.t.Helper()
	texts := append(n.events.All(), n.logged.texts()...)
	for _, c := range append(n.status().InitContainerStatuses, n.status().ContainerStatuses...) {
		if c.State.Waiting != nil {
			texts = append(texts, c.State.Waiting.Message)
		}
	}
	for _, text := range texts {
		for _, id := range n.identifiers() {
			assert.LessOrEqual(n.t, strings.Count(text, id), 1, "%s stands twice in %q", id, text)
		}
	}
}

func TestAFaultIsNamedOnce(t *testing.T) {
	claimed := withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data")
	digest := strings.TrimPrefix(imagestest.Image("example.com/app:1").Digest, "sha256:")
	full := errors.New("no space left on device")
	of := func(act string) error { return fmt.Errorf("%s VM %s: %w", act, uid, full) } // as hypervisors do
	tests := map[string]struct {
		pod   *corev1.Pod
		fault func(n *node)
		event string
	}{
		"a VM that can't be made": {
			nil, func(n *node) { n.hv.Fail("Create", of("create")) },
			"Warning FailedCreatePodSandBox create VM uid-1: no space left on device",
		},
		"a disk that can't be made of an image": {
			nil, func(n *node) {
				n.store.Local["example.com/app:1"] = imagestest.Image("example.com/app:1")
				n.hv.Fail("EnsureDisk", fmt.Errorf("make disk %s: %w", digest, full))
			},
			"Warning FailedCreatePodSandBox make disk " + digest + ": no space left on device",
		},
		"a VM that can't be powered on": {
			nil, func(n *node) {
				ended := &portlayer.PowerError{Reason: "signal: killed", Console: "panic"}
				n.hv.Fail("PowerOn", fmt.Errorf("power on VM %s: %w", uid, ended))
			},
			"Warning FailedCreatePodSandBox power on VM uid-1: it ended: signal: killed; its console ends with: panic",
		},
		"a guest that does not greet": {
			nil, func(n *node) { n.hv.Slow(time.Hour) },
			"Warning FailedCreatePodSandBox await guest of VM uid-1: no greeting: guest unreachable",
		},
		"an image's disk that can't be added": {
			nil, func(n *node) {
				n.store.Gate = make(chan struct{})
				n.hv.Fail("Update", of("update"))
				go func() { // ends when the VM runs
					sleep(10 * time.Second)
					close(n.store.Gate)
				}()
			},
			"Warning Failed Error: attach images: update VM uid-1: no space left on device",
		},
		"a volume's disk that can't be added": {
			claimed, func(n *node) { n.hv.Fail("Update", of("update")) },
			`Warning FailedAttachVolume AttachVolume.Attach failed for volume "pv-data": change volumes: update VM uid-1: no space left on device`,
		},
		"a volume that is gone": {
			claimed, func(n *node) {
				n.volumes.bind("data", volumes.Disk{Volume: "disk-of-again", PersistentVolume: "pv-again"})
			},
			`Warning FailedAttachVolume AttachVolume.Attach failed for volume "pv-again": `,
		},
		"an image that can't be pulled": {
			nil, func(n *node) { n.store.Fail(errors.New("registry is unavailable")) },
			"Warning Failed " + `Failed to pull image "example.com/app:1": registry is unavailable`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				n.disk("data")
				tt.fault(n)
				p := tt.pod
				if p == nil {
					p = pod(corev1.RestartPolicyAlways, "sleep 10000")
				}
				n.manager.Sync(p)
				n.await(5*time.Minute, tt.event, func() bool { return n.events.Count(tt.event) > 0 })
			})
		})
	}
}

func TestAFaultOfAnEndIsNamedOnce(t *testing.T) {
	for method, act := range map[string]string{"PowerOff": "power off", "Destroy": "destroy"} {
		t.Run(method, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				p := pod(corev1.RestartPolicyAlways, "sleep 10000")
				n.manager.Sync(p)
				n.awaitPhase(corev1.PodRunning)
				n.hv.Fail(method, fmt.Errorf("%s VM %s: connection refused", act, uid))
				n.manager.Sync(deleted(p, 1))
				want := fmt.Sprintf("Warning FailedKillPod %s VM uid-1: connection refused", act)
				n.await(time.Minute, want, func() bool { return n.events.Count(want) > 0 })
				n.hv.Fail(method, nil)
			})
		})
	}
}
