package memhv

import (
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// Fail makes every call of a method fail with err, until it is nil again.
func (h *Hypervisor) Fail(method string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures[method] = err
}

// Hide has the host say that there are VMs of those names which it can't read.
func (h *Hypervisor) Hide(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unreadable = names
}

// Slow has the next boots take that long before their guests open the port.
func (h *Hypervisor) Slow(boot time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.config.Boot = boot
}

// Calls are the names of the methods that were called so far, without those that only look.
func (h *Hypervisor) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.calls), func(m string) bool {
		return slices.Contains([]string{"List", "Dial", "Console", "Capacity"}, m)
	})
}

// enter notes a call and answers with the failure that a test asked for.
func (h *Hypervisor) enter(method string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, method)
	return h.failures[method]
}

// Guest is the guest of a running VM; nil where there is none.
func (h *Hypervisor) Guest(uid string) *fakeguest.Guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.vms[uid]; ok && v.State == portlayer.StateRunning {
		return v.guest
	}
	return nil
}

// Kill stops a VM as a crash does.
func (h *Hypervisor) Kill(uid, reason string) { h.stop(uid, nil, reason) }

// Vanish takes a VM away, as somebody with rights on the hypervisor can.
func (h *Hypervisor) Vanish(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeLocked(uid)
}

// Cut breaks the connection to a guest after it has sent so many more bytes; what it has sent then stays in the port.
func (h *Hypervisor) Cut(uid string, after int) {
	if p := h.portOf(uid); p != nil {
		p.change(func() {
			p.cutIn = after
			if after == 0 && p.host != nil {
				p.cutIn = -1
				p.host.closeLocked()
			}
		})
	}
}

// Silence keeps a guest from reading and writing its port, or lets it again.
func (h *Hypervisor) Silence(uid string, silent bool) {
	if p := h.portOf(uid); p != nil {
		p.change(func() { p.silent = silent })
	}
}

func (h *Hypervisor) portOf(uid string) *port {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.vms[uid]; ok {
		return v.port
	}
	return nil
}

// Copy has a running VM be a copy of one whose boot had that name.
func (h *Hypervisor) Copy(id, bootID string) {
	if g := h.Guest(id); g != nil {
		g.SetBootID(bootID)
	}
}
