package portlayertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Harness is a hypervisor without VMs, to be tested.
type Harness struct {
	Hypervisor portlayer.Hypervisor
	// Reopen lets go of the hypervisor and returns one over the same VMs, as the next process has it. Nil leaves the
	// tests of adoption out.
	Reopen func() portlayer.Hypervisor
	// Kill ends a running VM from outside. Nil leaves the tests of crashes out.
	Kill func(uid string)
	// Volume makes a volume and returns the hypervisor's name for it. Nil says that there are none: they are refused.
	Volume func(name string) string
	// Console returns what a VM has written to its first serial port. Nil says that VMs do not really run.
	Console func(id string) []byte
	// Timeout is how long a boot may take, and everything else; the zero value is 30 s.
	Timeout time.Duration
	// Size is what VMs get; the zero value is 1 processor and 256 MiB.
	Size portlayer.Size
}

const defaultTimeout = 30 * time.Second

func (h *Harness) complete() {
	if h.Timeout == 0 {
		h.Timeout = defaultTimeout
	}
	if h.Size == (portlayer.Size{}) {
		h.Size = portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20}
	}
}

// spec is that of a VM with a scratch disk and no network.
func (h *Harness) spec(uid string) portlayer.Spec {
	return portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: "default", Name: "pod", Node: "node", Generation: 1},
		Size:        h.Size,
		Disks:       []portlayer.Disk{{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 64 << 20}},
		Annotations: map[string]string{"note": "app"},
	}
}

// tester is one test of a hypervisor.
type tester struct {
	*testing.T
	Harness
	ctx     context.Context // bounds the test that the tester is
	created []string
}

func newTester(t *testing.T, open func(t *testing.T) Harness) *tester {
	t.Helper()
	h := open(t)
	h.complete()
	h.Hypervisor = namesOnce{h.Hypervisor, t}
	if reopen := h.Reopen; reopen != nil {
		h.Reopen = func() portlayer.Hypervisor { return namesOnce{reopen(), t} }
	}
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	t.Cleanup(cancel)
	return &tester{T: t, Harness: h, ctx: ctx}
}

// clear leaves the hypervisor as it was, before the harness cleans up what it is made of.
func (t *tester) clear() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), t.Timeout)
	defer cancel()
	for _, uid := range t.created {
		assert.NoError(t, t.Hypervisor.Destroy(ctx, uid))
	}
}

// create makes a VM that is removed when the test ends.
func (t *tester) create(uid string) portlayer.VM {
	t.Helper()
	vm, err := t.Hypervisor.Create(t.ctx, t.spec(uid))
	require.NoError(t, err)
	t.created = append(t.created, uid)
	return vm
}

// find returns the VM as List shows it; false where it does not.
func (t *tester) find(uid string) (portlayer.VM, bool) {
	t.Helper()
	vms, err := t.Hypervisor.List(t.ctx)
	require.NoError(t, err)
	i := slices.IndexFunc(vms, func(vm portlayer.VM) bool { return vm.ID() == uid })
	if i < 0 {
		return portlayer.VM{}, false
	}
	return vms[i], true
}

func (t *tester) get(uid string) portlayer.VM {
	t.Helper()
	vm, ok := t.find(uid)
	require.True(t, ok, "VM %s is not listed", uid)
	return vm
}

// await returns the VM once it is as wanted.
func (t *tester) await(uid string, wanted func(portlayer.VM) bool) portlayer.VM {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		vm := t.get(uid)
		if wanted(vm) {
			return vm
		}
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			require.Failf(t, "VM is not as wanted", "%+v", vm)
		}
	}
}

func inState(s portlayer.State) func(portlayer.VM) bool {
	return func(vm portlayer.VM) bool { return vm.State == s }
}

// content is a disk source that counts how often it is opened.
type content struct {
	portlayer.DiskSource
	opened atomic.Int32
}

// newContent returns a source of other bytes for each name.
func newContent(name string) *content {
	b := bytes.Repeat([]byte(name+"\n"), diskBytes/(len(name)+1)+1)[:diskBytes]
	sum := sha256.Sum256(b)
	c := &content{}
	c.DiskSource = portlayer.DiskSource{
		Digest:    "sha256:" + hex.EncodeToString(sum[:]),
		SizeBytes: diskBytes,
		Open: func() (io.ReadSeekCloser, error) {
			c.opened.Add(1)
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(b), io.NopCloser(nil)}, nil
		},
	}
	return c
}

// broken is c with an end that cannot be read.
func (c *content) broken(cause error) portlayer.DiskSource {
	src := c.DiskSource
	src.Open = func() (io.ReadSeekCloser, error) {
		r, err := c.Open()
		return &brokenReader{ReadSeekCloser: r, left: c.SizeBytes / 2, cause: cause}, err
	}
	return src
}

type brokenReader struct {
	io.ReadSeekCloser
	left  int64
	cause error
}

func (r *brokenReader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, r.cause
	}
	n, err := r.ReadSeekCloser.Read(b[:min(int64(len(b)), r.left)])
	r.left -= int64(n)
	return n, err
}
