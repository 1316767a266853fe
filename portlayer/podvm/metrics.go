package podvm

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/virtual-kubelet/vic/portlayer"
)

// unreachableAfter is when a silent guest counts as unreachable: the time after which its pod is no longer ready.
const unreachableAfter = 40 * time.Second

var (
	podVMsDesc       = prometheus.NewDesc("vic_pod_vms", "Pod VMs of this node by their state; removed ones are still remembered.", []string{"state"}, nil)
	linksDesc        = prometheus.NewDesc("vic_guest_links", "Guests that this node is connected to now.", nil, nil)
	unreachablesDesc = prometheus.NewDesc("vic_guests_unreachable", "Guests of running VMs that have been silent for 40 s.", nil, nil)
)

// podVMs counts, when it is asked, how many pod VMs there are. It is a prometheus.Collector.
type podVMs struct{ host *Host }

// Describe implements prometheus.Collector.
func (podVMs) Describe(to chan<- *prometheus.Desc) {
	to <- podVMsDesc
	to <- linksDesc
	to <- unreachablesDesc
}

// Collect implements prometheus.Collector.
func (c podVMs) Collect(to chan<- prometheus.Metric) {
	states := map[portlayer.State]int{portlayer.StateCreated: 0, portlayer.StateRunning: 0, portlayer.StateStopped: 0, portlayer.StateRemoved: 0}
	var linked, unreachable int
	for _, p := range c.host.all() {
		state, open, silent := p.health()
		states[state]++
		if open {
			linked++
		}
		if !silent.IsZero() && time.Since(silent) >= unreachableAfter {
			unreachable++
		}
	}
	for state, n := range states {
		to <- prometheus.MustNewConstMetric(podVMsDesc, prometheus.GaugeValue, float64(n), string(state))
	}
	to <- prometheus.MustNewConstMetric(linksDesc, prometheus.GaugeValue, float64(linked))
	to <- prometheus.MustNewConstMetric(unreachablesDesc, prometheus.GaugeValue, float64(unreachable))
}

// health is the state, whether the link with the guest is open, and since when the guest is silent.
func (p *pod) health() (state portlayer.State, open bool, silent time.Time) {
	p.mu.Lock()
	state, link := p.vm.State, p.link
	p.mu.Unlock()
	if link == nil {
		return state, false, time.Time{}
	}
	_, open = link.Greeted()
	return state, open, link.SilentSince()
}
