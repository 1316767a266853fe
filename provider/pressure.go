package provider

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
)

// DefaultPressureTransition is for how long a pressure is reported after it was last seen, as the kubelet has it
// (KubeletConfiguration, evictionPressureTransitionPeriod).
const DefaultPressureTransition = 5 * time.Minute

// pressureKinds are the conditions that keep pods away, in the kubelet's order.
var pressureKinds = []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}

// pressureHold keeps pressures for a while after they are over, so that a machine at the mark does not take its pods and
// give them up again and again. It is not safe for concurrent use.
type pressureHold struct {
	keep time.Duration
	last map[string]seen
}

// seen is a pressure and when it was seen last.
type seen struct {
	portlayer.Condition

	at time.Time
}

// apply returns conditions with the pressures that were seen within the time to keep them.
func (h *pressureHold) apply(conditions []portlayer.Condition, now time.Time) []portlayer.Condition {
	held := slices.Clone(conditions)
	for i, c := range held {
		if !slices.Contains(pressureKinds, corev1.NodeConditionType(c.Type)) {
			continue
		}
		if c.True {
			if h.last == nil {
				h.last = map[string]seen{}
			}
			h.last[c.Type] = seen{c, now}
			continue
		}
		if last, ok := h.last[c.Type]; ok && now.Sub(last.at) < h.keep {
			held[i] = last.Condition
		}
	}
	return held
}
