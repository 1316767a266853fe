//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// copyBothWays copies a file of so many bytes into a pod and back, and compares digests on each side.
func copyBothWays(t *testing.T, ns string, megabytes int64) {
	t.Helper()
	p := shared.waitReady(t, shared.create(t, pod(ns, "files", sleepForever)))
	dir := t.TempDir()
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	f, err := os.Create(there)
	require.NoError(t, err)
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), megabytes<<20)
	require.NoError(t, errors.Join(err, f.Close()))

	begin := time.Now()
	shared.kubectl(t, "cp", there, ns+"/"+p.Name+":/tmp/file")
	t.Logf("%d MiB there in %s", megabytes, time.Since(begin).Round(time.Millisecond))
	assert.Contains(t, shared.kubectl(t, "-n", ns, "exec", p.Name, "--", "sha256sum", "/tmp/file"), digestOf(t, there))
	begin = time.Now()
	shared.kubectl(t, "cp", "--retries=0", ns+"/"+p.Name+":/tmp/file", back)
	t.Logf("%d MiB back in %s", megabytes, time.Since(begin).Round(time.Millisecond))
	assert.Equal(t, digestOf(t, there), digestOf(t, back))
}

// digestOf is a file's SHA-256.
func digestOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	require.NoError(t, err)
	return hex.EncodeToString(hash.Sum(nil))
}

func TestCopyBothWays(t *testing.T) {
	t.Parallel()
	copyBothWays(t, shared.namespace(t), 8)
}

// forwardPorts runs kubectl port-forward and returns where it listens for each port.
func (c *cluster) forwardPorts(t *testing.T, protocol string, p *corev1.Pod, ports ...string) (map[string]string, *output) {
	t.Helper()
	args := []string{"-n", p.Namespace, "port-forward", p.Name}
	for _, port := range ports {
		args = append(args, ":"+port)
	}
	cmd := over(c.kubectlCommand(t.Context(), args...), protocol)
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	local := map[string]string{}
	c.eventually(t, "ports are forwarded", func(context.Context) (bool, string) {
		for _, found := range regexp.MustCompile(`Forwarding from (127[\d.]+:\d+) -> (\d+)`).FindAllStringSubmatch(out.String(), -1) {
			local[found[2]] = found[1]
		}
		return len(local) == len(ports), out.String()
	})
	return local, out
}

// askDigest sends bytes, closes its half, and returns the answer.
func askDigest(ctx context.Context, addr string, text []byte) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.Write(text); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	var ports, addresses []string
	for port := 9000; port < 9010; port++ {
		ports = append(ports, strconv.Itoa(port))
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	p := shared.waitReady(t, shared.create(t, pod(ns, "ports", "exec /testpod digest "+strings.Join(addresses, " "))))
	require.Equal(t, "listening", next(t, shared.follow(t, p)))
	for protocol := range protocols {
		t.Run(protocol+"/many ports, connections beside each other, half-closed", func(t *testing.T) {
			local, out := shared.forwardPorts(t, protocol, p, ports...)
			var running sync.WaitGroup
			for i := range 30 {
				running.Go(func() {
					port := ports[i%len(ports)]
					text := bytes.Repeat([]byte{byte(i)}, 256<<10+i)
					want := fmt.Sprintf("%d %x 127.0.0.1:%s\n", len(text), sha256.Sum256(text), port)
					answer, err := askDigest(t.Context(), local[port], text)
					assert.NoError(t, err, "connection %d", i) //nolint:testifylint // not the test's goroutine
					assert.Equal(t, want, answer, "connection %d: %s", i, out)
				})
			}
			running.Wait()
		})
		t.Run(protocol+"/a port that nobody listens on", func(t *testing.T) {
			local, out := shared.forwardPorts(t, protocol, p, "7")
			_, err := askDigest(t.Context(), local["7"], nil)
			_ = err // the connection ends in one way or another
			shared.eventually(t, "the reason", func(context.Context) (bool, string) {
				return strings.Contains(out.String(), "failed to connect to localhost:7 inside the pod VM, IPv4: dial tcp4 127.0.0.1:7: connect: connection refused"), out.String()
			})
		})
	}
}
