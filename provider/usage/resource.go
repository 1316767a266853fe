package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The metrics of /metrics/resource, as the kubelet has them (kubelet, metrics/collectors/resource_metrics.go).
var (
	containerLabels = []string{"container", "pod", "namespace"}
	podLabels       = []string{"pod", "namespace"}

	nodeCPUDesc         = prometheus.NewDesc("node_cpu_usage_seconds_total", "Processor time that pod VMs have used since this process started.", nil, nil)
	nodeMemoryDesc      = prometheus.NewDesc("node_memory_working_set_bytes", "Memory that pod VMs hold.", nil, nil)
	containerCPUDesc    = prometheus.NewDesc("container_cpu_usage_seconds_total", "Processor time that the container has used.", containerLabels, nil)
	containerMemoryDesc = prometheus.NewDesc("container_memory_working_set_bytes", "Working set of the container.", containerLabels, nil)
	containerStartDesc  = prometheus.NewDesc("container_start_time_seconds", "When the container started, in seconds since the Unix epoch.", containerLabels, nil)
	podCPUDesc          = prometheus.NewDesc("pod_cpu_usage_seconds_total", "Processor time that all containers of the pod have used.", podLabels, nil)
	podMemoryDesc       = prometheus.NewDesc("pod_memory_working_set_bytes", "Working set of all containers of the pod.", podLabels, nil)
	scrapeErrorDesc     = prometheus.NewDesc("resource_scrape_error", "1 if a pod that runs, or the node, could not be asked; its metrics are left out.", nil, nil)
)

// Resource is what /metrics/resource shows. A pod whose guest does not answer is left out.
func (c *Collector) Resource(ctx context.Context) ([]*dto.MetricFamily, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(sampled{c.sample(ctx)}); err != nil {
		return nil, fmt.Errorf("show usage: %w", err)
	}
	families, err := registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("show usage: %w", err)
	}
	return families, nil
}

// sampled shows one sample. It is a prometheus.Collector.
type sampled struct{ *sample }

// Describe implements prometheus.Collector.
func (sampled) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		nodeCPUDesc, nodeMemoryDesc, containerCPUDesc, containerMemoryDesc, containerStartDesc, podCPUDesc, podMemoryDesc, scrapeErrorDesc,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s sampled) Collect(to chan<- prometheus.Metric) {
	failed := 1.
	if s.whole {
		failed = 0
	}
	to <- prometheus.MustNewConstMetric(scrapeErrorDesc, prometheus.GaugeValue, failed)
	if s.node.known {
		at := stamped{to, s.at}
		at.counter(nodeCPUDesc, s.node.capacity.UsedCPU)
		at.gauge(nodeMemoryDesc, float64(s.node.capacity.UsedMemoryBytes))
	}
	for _, p := range s.pods {
		at := stamped{to, p.stats.Time}
		name, namespace := p.pod.Name, p.pod.Namespace
		at.counter(podCPUDesc, p.stats.Pod.CPU, name, namespace)
		at.gauge(podMemoryDesc, float64(p.stats.Pod.WorkingSetBytes), name, namespace)
		for _, u := range p.stats.Containers {
			at.counter(containerCPUDesc, u.Usage.CPU, u.Name, name, namespace)
			at.gauge(containerMemoryDesc, float64(u.Usage.WorkingSetBytes), u.Name, name, namespace)
			if start := startOf(p.pod, u.Name); !start.IsZero() {
				at.gauge(containerStartDesc, float64(start.UnixNano())/float64(time.Second), u.Name, name, namespace)
			}
		}
	}
}

// stamped sends metrics with the time at which they were true, which metrics-server wants.
type stamped struct {
	to chan<- prometheus.Metric
	at time.Time
}

func (s stamped) counter(d *prometheus.Desc, v time.Duration, labels ...string) {
	s.to <- prometheus.NewMetricWithTimestamp(s.at, prometheus.MustNewConstMetric(d, prometheus.CounterValue, v.Seconds(), labels...))
}

func (s stamped) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.NewMetricWithTimestamp(s.at, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
}
