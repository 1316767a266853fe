//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// log returns the log of a pod's container.
func (c *cluster) log(t *testing.T, p *corev1.Pod, opts corev1.PodLogOptions) string {
	t.Helper()
	b, err := c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &opts).DoRaw(t.Context())
	require.NoError(t, err)
	return string(b)
}

// requireText compares texts of megabytes, whose difference nobody wants to read.
func requireText(t *testing.T, want, got, what string) {
	t.Helper()
	if want == got {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	require.Failf(t, "the log differs "+what, "%d bytes instead of %d, the first that differs is %d", len(got), len(want), at)
}

func TestLogsAreByteExact(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	const longLine = 1 << 20
	var want bytes.Buffer
	_, err := io.CopyN(&want, rand.NewChaCha8([32]byte{}), 300_000)
	require.NoError(t, err)
	want.WriteByte('\n')
	for _, digit := range []string{"1", "2", "3"} {
		want.WriteString(strings.Repeat(digit, longLine-1) + "\n")
	}
	want.WriteString("end without a newline")
	script := `/testpod bytes 300000; echo; for i in 1 2 3; do head -c 1048575 /dev/zero | tr '\0' $i; echo; done; printf 'end without a newline'`
	p := shared.create(t, pod(ns, "bytes", script, restart(corev1.RestartPolicyNever)))
	shared.waitPod(t, p, "has begun", func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending })

	requireText(t, want.String(), shared.log(t, p, corev1.PodLogOptions{Follow: true}), "while it is written")
	shared.waitPhase(t, p, corev1.PodSucceeded)
	requireText(t, want.String(), shared.log(t, p, corev1.PodLogOptions{}), "after it was written")
	requireText(t, want.String(), shared.kubectl(t, "-n", ns, "logs", "bytes"), "with kubectl")
	last := strings.Repeat("3", longLine-1) + "\nend without a newline"
	requireText(t, last, shared.log(t, p, corev1.PodLogOptions{TailLines: ptr.To[int64](2)}), "the last two lines")
	stamped := shared.log(t, p, corev1.PodLogOptions{TailLines: ptr.To[int64](2), Timestamps: true})
	assert.Len(t, regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z `).FindAllString(stamped, -1), 2, "one time a line, however long")
}

func TestLogOptions(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "log", "echo one; echo two; sleep 3; echo three; "+sleepForever))
	shared.waitReady(t, p)
	lines := shared.follow(t, p, "--timestamps")
	var stamps []string
	for _, want := range []string{"one", "two", "three"} {
		stamp, text, ok := strings.Cut(next(t, lines), " ")
		require.True(t, ok)
		require.Equal(t, want, text)
		stamps = append(stamps, stamp)
	}
	tests := map[string]struct {
		flags []string
		want  string
	}{
		"all":                          {nil, "one\ntwo\nthree\n"},
		"all containers":               {[]string{"--all-containers"}, "one\ntwo\nthree\n"},
		"a tail":                       {[]string{"--tail=2"}, "two\nthree\n"},
		"no line":                      {[]string{"--tail=0"}, ""},
		"a limit":                      {[]string{"--limit-bytes=6"}, "one\ntw"},
		"a limit of more than 2 GiB":   {[]string{"--limit-bytes=3000000000"}, "one\ntwo\nthree\n"},
		"since a time":                 {[]string{"--since-time=" + stamps[2]}, "three\n"},
		"since long ago":               {[]string{"--since=1h"}, "one\ntwo\nthree\n"},
		"all with times":               {[]string{"--timestamps", "--tail=1"}, stamps[2] + " three\n"},
		"the container by its name":    {[]string{"-c", "main", "--tail=1"}, "three\n"},
		"with the pod's name in front": {[]string{"--prefix", "--tail=1"}, "[pod/log/main] three\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, shared.kubectl(t, append([]string{"-n", ns, "logs", "log"}, tt.flags...)...))
		})
	}
	t.Run("no former attempt", func(t *testing.T) {
		out, err := shared.tryKubectl(t, "-n", ns, "logs", "-p", "log")
		require.Error(t, err)
		assert.Contains(t, out, `previous terminated container "main" in pod "log" not found`)
	})
	t.Run("a container that waits", func(t *testing.T) {
		shared.create(t, pod(ns, "waits", "true", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "127.0.0.1:1/absent:1" }))
		shared.eventually(t, "the kubelet's words", func(context.Context) (bool, string) {
			out, err := shared.tryKubectl(t, "-n", ns, "logs", "waits")
			return err != nil && strings.Contains(out, `(BadRequest): container "main" in pod "waits" is waiting to start: `), out
		})
	})
}

// numbers reads lines of testpod count with their times, and requires that each number comes once, in order.
type numbers struct {
	next  int
	stamp time.Time
}

func (n *numbers) read(t *testing.T, log io.Reader, until int) {
	t.Helper()
	for s := bufio.NewScanner(log); n.next < until && s.Scan(); {
		stamp, text, ok := strings.Cut(s.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if !ok || err != nil {
			continue // torn by the end of vic
		}
		i, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || len(text) != 99 {
			require.Failf(t, "not a line of the pod's", "%q", s.Text())
		}
		if i < n.next {
			require.Falsef(t, at.After(n.stamp), "line %d comes twice", i)
			continue // asked for again, since a time is asked for in whole seconds
		}
		require.Equal(t, n.next, i, "a line is missing")
		n.next, n.stamp = i+1, at
	}
}

func (c *cluster) stream(t *testing.T, p *corev1.Pod, since time.Time) io.ReadCloser {
	t.Helper()
	args := []string{"-n", p.Namespace, "logs", "-f", "--timestamps", p.Name}
	if !since.IsZero() {
		args = append(args, "--since-time="+since.Format(time.RFC3339))
	}
	cmd := c.kubectlCommand(t.Context(), args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return out
}
