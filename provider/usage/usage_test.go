package usage_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/provider/usage"
)

// host has a VM for every pod; each uses one processor. The guest of "silent" is known to be silent, that of "stuck" does
// not answer.
type host struct {
	begin time.Time

	mu    sync.Mutex // guards asked
	asked int
	away  error
}

func (h *host) Capacity(context.Context) (portlayer.Capacity, error) {
	return portlayer.Capacity{
		MemoryBytes: 1000, FreeMemoryBytes: 300, StorageBytes: 500, FreeStorageBytes: 100,
		UsedCPU: 2 * time.Since(h.begin), UsedMemoryBytes: 700,
	}, h.away
}

func (h *host) Get(_ context.Context, uid string) (podvm.VM, error) {
	vm := podvm.VM{VM: portlayer.VM{State: portlayer.StateRunning}}
	if uid == "silent" {
		vm.SilentSince = h.begin
	}
	return vm, nil
}

func (h *host) Stats(ctx context.Context, uid string) (wire.Stats, error) {
	h.mu.Lock()
	h.asked++
	h.mu.Unlock()
	if uid == "stuck" {
		<-ctx.Done()
		return wire.Stats{}, ctx.Err()
	}
	u := wire.Usage{CPU: time.Since(h.begin), MemoryBytes: 20, WorkingSetBytes: 10, RSSBytes: 5, Processes: 2}
	return wire.Stats{
		Time: time.Now(), Pod: u, Containers: []wire.ContainerStats{{Name: "app", Usage: u}},
		Interfaces: []wire.InterfaceStats{{Name: "eth0", RxBytes: 7}}, Scratch: wire.FilesystemStats{UsedBytes: 9},
	}, nil
}

func collector(names ...string) (*usage.Collector, *host) {
	pods := cache.New()
	for _, name := range names {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID(name)},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
				Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Unix(50, 0)}},
			}}},
		}
		if name == "pending" {
			pod.Status.Phase = corev1.PodPending
		}
		pods.SetPod(pod)
	}
	h := &host{begin: time.Now().Add(-10 * time.Second)}
	return usage.New(usage.Config{NodeName: "v", Host: h, Pods: pods}), h
}

// scrape is what /metrics/resource shows.
func scrape(t *testing.T, c *usage.Collector) string {
	t.Helper()
	families, err := c.Resource(t.Context())
	require.NoError(t, err)
	var out bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&out, f)
		require.NoError(t, err)
	}
	return out.String()
}

func TestResourceMetricsAreTheKubelets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := collector("a", "pending")
		text := scrape(t, c)
		at := " 946684800000\n" // when a bubble's time begins, in milliseconds
		for _, line := range []string{
			"# TYPE container_cpu_usage_seconds_total counter\n",
			`container_cpu_usage_seconds_total{container="app",namespace="n",pod="a"} 10` + at,
			`container_memory_working_set_bytes{container="app",namespace="n",pod="a"} 10` + at,
			`container_start_time_seconds{container="app",namespace="n",pod="a"} 50` + at,
			`pod_cpu_usage_seconds_total{namespace="n",pod="a"} 10` + at,
			`pod_memory_working_set_bytes{namespace="n",pod="a"} 10` + at,
			"node_cpu_usage_seconds_total 20" + at,
			"node_memory_working_set_bytes 700" + at,
			"resource_scrape_error 0\n",
		} {
			assert.Contains(t, text, line)
		}
		assert.NotContains(t, text, "pending")
	})
}

func TestSilentGuestsFailNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := collector("a", "silent", "stuck")
		began := time.Now()
		text := scrape(t, c)
		assert.Equal(t, 3*time.Second, time.Since(began), "what a guest may take at most")
		assert.Equal(t, 2, h.asked, "a guest that is known to be silent is not asked")
		assert.Contains(t, text, `pod="a"`)
		assert.NotContains(t, text, "silent")
		assert.NotContains(t, text, "stuck")
		assert.Contains(t, text, "resource_scrape_error 1\n")
		h.away = errors.New("away")
		<-time.After(time.Minute)
		text = scrape(t, c)
		assert.Contains(t, text, `pod="a"`)
		assert.NotContains(t, text, "node_cpu")
	})
}

func TestGuestsAreNotAskedTwiceInAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := collector("a")
		for range 50 {
			scrape(t, c)
		}
		assert.Equal(t, 1, h.asked)
		<-time.After(2 * time.Second)
		scrape(t, c)
		assert.Equal(t, 2, h.asked)
	})
}

func TestSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := collector("a")
		first, err := c.Summary(t.Context())
		require.NoError(t, err)
		require.Len(t, first.Pods, 1)
		assert.Nil(t, first.Pods[0].CPU.UsageNanoCores, "there is no rate of one sample")
		<-time.After(10 * time.Second)
		s, err := c.Summary(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "v", s.Node.NodeName)
		assert.EqualValues(t, 2_000_000_000, *s.Node.CPU.UsageNanoCores)
		assert.EqualValues(t, 700, *s.Node.Memory.WorkingSetBytes)
		assert.EqualValues(t, 400, *s.Node.Fs.UsedBytes)
		pod := s.Pods[0]
		assert.Equal(t, "a", pod.PodRef.UID)
		assert.EqualValues(t, 1_000_000_000, *pod.CPU.UsageNanoCores)
		assert.EqualValues(t, 7, *pod.Network.RxBytes)
		assert.EqualValues(t, 9, *pod.EphemeralStorage.UsedBytes)
		assert.EqualValues(t, 2, *pod.ProcessStats.ProcessCount)
		require.Len(t, pod.Containers, 1)
		assert.Equal(t, "app", pod.Containers[0].Name)
		assert.EqualValues(t, 20_000_000_000, *pod.Containers[0].CPU.UsageCoreNanoSeconds)
		assert.EqualValues(t, 1_000_000_000, *pod.Containers[0].CPU.UsageNanoCores)
		assert.EqualValues(t, 10, *pod.Containers[0].Memory.WorkingSetBytes)
		assert.EqualValues(t, 50, pod.Containers[0].StartTime.Unix())
	})
}
