package usage

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Summary is what /stats/summary shows. A pod whose guest does not answer is left out.
func (c *Collector) Summary(ctx context.Context) (*statsv1alpha1.Summary, error) {
	s := c.sample(ctx)
	out := &statsv1alpha1.Summary{Node: statsv1alpha1.NodeStats{NodeName: c.cfg.NodeName, StartTime: metav1.NewTime(c.begun)}}
	if s.node.known {
		capacity, at := &s.node.capacity, metav1.NewTime(s.at)
		out.Node.CPU = cpuStats(s.at, capacity.UsedCPU, s.rates, key{})
		out.Node.Memory = &statsv1alpha1.MemoryStats{
			Time: at, UsageBytes: new(uint64(capacity.UsedMemoryBytes)), WorkingSetBytes: new(uint64(capacity.UsedMemoryBytes)),
			AvailableBytes: new(uint64(capacity.FreeMemoryBytes)),
		}
		out.Node.Fs = &statsv1alpha1.FsStats{
			Time: at, CapacityBytes: new(uint64(capacity.StorageBytes)), AvailableBytes: new(uint64(capacity.FreeStorageBytes)),
			UsedBytes: new(uint64(capacity.StorageBytes - capacity.FreeStorageBytes)),
		}
	}
	for _, p := range s.pods {
		out.Pods = append(out.Pods, podStats(p, s.rates))
	}
	return out, nil
}

func podStats(p podUsage, rates map[key]uint64) statsv1alpha1.PodStats {
	uid, at := string(p.pod.UID), p.stats.Time
	ps := statsv1alpha1.PodStats{
		PodRef:       statsv1alpha1.PodReference{Name: p.pod.Name, Namespace: p.pod.Namespace, UID: uid},
		StartTime:    podStart(p.pod),
		CPU:          cpuStats(at, p.stats.Pod.CPU, rates, key{uid: uid}),
		Memory:       memoryStats(at, p.stats.Pod),
		ProcessStats: &statsv1alpha1.ProcessStats{ProcessCount: new(p.stats.Pod.Processes)},
		Network:      networkStats(at, p.stats.Interfaces),
		EphemeralStorage: &statsv1alpha1.FsStats{
			Time: metav1.NewTime(at), CapacityBytes: new(p.stats.Scratch.CapacityBytes),
			AvailableBytes: new(p.stats.Scratch.AvailableBytes), UsedBytes: new(p.stats.Scratch.UsedBytes),
			Inodes: new(p.stats.Scratch.Inodes), InodesFree: new(p.stats.Scratch.InodesFree),
		},
	}
	for _, u := range p.stats.Containers {
		ps.Containers = append(ps.Containers, statsv1alpha1.ContainerStats{
			Name: u.Name, StartTime: metav1.NewTime(startOf(p.pod, u.Name)),
			CPU: cpuStats(at, u.Usage.CPU, rates, key{uid, u.Name}), Memory: memoryStats(at, u.Usage),
		})
	}
	return ps
}

func podStart(pod *corev1.Pod) metav1.Time {
	if pod.Status.StartTime != nil {
		return *pod.Status.StartTime
	}
	return metav1.Time{}
}

// cpuStats has a rate once there were two samples.
func cpuStats(at time.Time, used time.Duration, rates map[key]uint64, k key) *statsv1alpha1.CPUStats {
	stats := &statsv1alpha1.CPUStats{Time: metav1.NewTime(at), UsageCoreNanoSeconds: new(uint64(used))}
	if rate, ok := rates[k]; ok {
		stats.UsageNanoCores = &rate
	}
	return stats
}

func memoryStats(at time.Time, u wire.Usage) *statsv1alpha1.MemoryStats {
	return &statsv1alpha1.MemoryStats{
		Time: metav1.NewTime(at), UsageBytes: new(u.MemoryBytes), WorkingSetBytes: new(u.WorkingSetBytes),
		RSSBytes: new(u.RSSBytes), PageFaults: new(u.PageFaults), MajorPageFaults: new(u.MajorPageFaults),
	}
}

// networkStats takes the first interface for the pod's own.
func networkStats(at time.Time, all []wire.InterfaceStats) *statsv1alpha1.NetworkStats {
	stats := &statsv1alpha1.NetworkStats{Time: metav1.NewTime(at)}
	for _, i := range all {
		one := statsv1alpha1.InterfaceStats{
			Name: i.Name, RxBytes: new(i.RxBytes), RxErrors: new(i.RxErrors), TxBytes: new(i.TxBytes), TxErrors: new(i.TxErrors),
		}
		if stats.Interfaces = append(stats.Interfaces, one); len(stats.Interfaces) == 1 {
			stats.InterfaceStats = one
		}
	}
	return stats
}
