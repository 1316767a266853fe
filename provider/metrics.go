package provider

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	queueDesc   = prometheus.NewDesc("vic_node_queue_depth", "Pods that wait in a queue of the node: to be synced from the API, deleted, or their statuses written.", []string{"queue"}, nil)
	offeredDesc = prometheus.NewDesc("vic_node_offered", "What the VCH offers to pods: cpu in processors, memory and ephemeral_storage in bytes, pods.", []string{"resource"}, nil)
	freeDesc    = prometheus.NewDesc("vic_node_free_bytes", "What is left of the machine's memory and storage, as far as the VCH may use it.", []string{"resource"}, nil)
)

// Collector returns a prometheus.Collector of the node's queues and of what the VCH offered when it was asked
// last.
func (n *Node) Collector() prometheus.Collector { return nodeCollector{n} }

type nodeCollector struct{ node *Node }

// Describe implements prometheus.Collector.
func (nodeCollector) Describe(to chan<- *prometheus.Desc) {
	to <- queueDesc
	to <- offeredDesc
	to <- freeDesc
}

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, label string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	loop := c.node.podLoop
	for queue, depth := range map[string]int{
		"sync":    loop.SyncPodsFromKubernetesQueueLen(),
		"delete":  loop.DeletePodsFromKubernetesQueueLen(),
		"status":  loop.SyncPodStatusFromProviderQueueLen(),
		"publish": c.node.publisher.queue.Len(),
	} {
		gauge(queueDesc, float64(depth), queue)
	}
	capacity := c.node.reporter.latest()
	gauge(offeredDesc, float64(capacity.CPUMilli)/1000, "cpu")
	gauge(offeredDesc, float64(capacity.MemoryBytes), "memory")
	gauge(offeredDesc, float64(capacity.StorageBytes), "ephemeral_storage")
	gauge(offeredDesc, float64(capacity.Pods), "pods")
	gauge(freeDesc, float64(capacity.FreeMemoryBytes), "memory")
	gauge(freeDesc, float64(capacity.FreeStorageBytes), "ephemeral_storage")
}
