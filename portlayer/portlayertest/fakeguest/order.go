package fakeguest

import (
	"cmp"
	"slices"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// restarts is the real guest's decision: a container's own rules and policy, then the pod's.
func (c *container) restarts(code int32) bool {
	switch {
	case c.role == wire.RoleEphemeral:
		return false
	case c.role == wire.RoleSidecar, c.anew:
		return true
	case c.role == wire.RoleInit && code == 0:
		return false
	}
	for _, r := range c.spec.RestartRules {
		if slices.Contains(r.ExitCodes, code) != r.NotIn {
			return r.Restart
		}
	}
	policy := cmp.Or(c.spec.RestartPolicy, c.guest.pod.RestartPolicy)
	return policy == "Always" || policy == "OnFailure" && code != 0
}

func (c *container) precedes() bool { return c.role == wire.RoleInit || c.role == wire.RoleSidecar }

// mayStartLocked reports whether the init containers and sidecars before c have done their part.
func (g *Guest) mayStartLocked(c *container) bool {
	for _, o := range g.containers {
		if o == c && c.precedes() || c.role == wire.RoleEphemeral {
			return true
		}
		if o.precedes() && !o.passed {
			return false
		}
	}
	return true
}

// advanceLocked starts what may start now, and ends the pod when an init container has failed for good or no app
// container will run again.
func (g *Guest) advanceLocked() {
	if g.phase == wire.PhaseConfigured && !g.ending && (g.failedLocked() || g.finishedLocked()) {
		g.ending = true
		for _, c := range g.containers {
			c.stopLocked()
		}
	}
	for _, c := range g.containers {
		if c.status.Known && !c.status.Final && !c.begun && g.mayStartLocked(c) {
			c.startLocked()
		}
	}
	if !slices.ContainsFunc(g.containers, func(c *container) bool { return !c.status.Final }) {
		g.phase = wire.PhaseDone
	}
}

func (g *Guest) failedLocked() bool {
	return slices.ContainsFunc(g.containers, func(c *container) bool {
		return c.role == wire.RoleInit && c.status.Final && !c.passed
	})
}

func (g *Guest) finishedLocked() bool {
	return !slices.ContainsFunc(g.containers, func(c *container) bool { return c.role == wire.RoleApp && !c.status.Final })
}

// SetReady makes a container that runs ready or not, as its readiness probe would.
func (g *Guest) SetReady(container string, ready bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.findLocked(container); c != nil && c.stop != nil {
		c.status.Ready = ready
		g.notifyLocked()
	}
}
