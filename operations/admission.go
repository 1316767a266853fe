package operations

import (
	"context"
	"fmt"
	"sync"

	"github.com/virtual-kubelet/vic/portlayer"
)

// CapacityHost tells what the host has left.
type CapacityHost interface {
	Capacity(ctx context.Context) (portlayer.Capacity, error)
}

// Admission keeps pods from being promised the same free memory: what it admitted counts until the VM runs, and from then
// on the host counts it. It is safe for concurrent use.
type Admission struct {
	host CapacityHost

	mu       sync.Mutex // guards reserved
	reserved map[string]int64
}

// NewAdmission returns an Admission to the memory of host.
func NewAdmission(host CapacityHost) *Admission {
	return &Admission{host: host, reserved: map[string]int64{}}
}

// Admit reserves memory for a pod VM, or returns an *OutOfMemoryError. What a pod reserved before is replaced.
func (a *Admission) Admit(ctx context.Context, uid string, memoryBytes int64) error {
	c, err := a.host.Capacity(ctx)
	if err != nil {
		return fmt.Errorf("read free memory: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	free := c.FreeMemoryBytes
	for other, bytes := range a.reserved {
		if other != uid {
			free -= bytes
		}
	}
	if memoryBytes > free {
		return &OutOfMemoryError{Requested: memoryBytes, Used: c.MemoryBytes - free, Capacity: c.MemoryBytes}
	}
	a.reserved[uid] = memoryBytes
	return nil
}

// Release gives back what a pod reserved; nothing is no error.
func (a *Admission) Release(uid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.reserved, uid)
}
