package portlayer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
)

// observed is a Hypervisor whose calls are measured, traced and logged. Watch, which returns at once, is not.
type observed struct {
	Hypervisor
	took *prometheus.HistogramVec
}

func observe(h Hypervisor, reg prometheus.Registerer) *observed {
	return &observed{Hypervisor: h, took: promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
		Name: "vic_hypervisor_call_duration_seconds",
		Help: "How long calls of the hypervisor took, by operation and result.",
		// From a look at a directory to the copy of a large disk.
		Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
	}, []string{"op", "result"})}
}

// looking are operations that are repeated all the time and change nothing: they are measured, and neither traced nor
// logged.
var looking = map[string]bool{"List": true, "Capacity": true, "Console": true}

// call measures one call about the VM of that ID, "" for none.
func (o *observed) call(ctx context.Context, op, id string, do func(context.Context) error) error {
	began := time.Now()
	if looking[op] {
		err := do(ctx)
		o.took.WithLabelValues(op, resultOf(err)).Observe(time.Since(began).Seconds())
		return err
	}
	ctx, end := tracing.Start(ctx, "hypervisor "+op, tracing.VM(id))
	err := do(ctx)
	end(err)
	took := time.Since(began)
	o.took.WithLabelValues(op, resultOf(err)).Observe(took.Seconds())
	logging.From(ctx).DebugContext(ctx, "hypervisor called", "op", op, "vm", id, "took", took, "err", err)
	return err
}

// resultOf is err as a label: one of a few words.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNotRunning), errors.Is(err, ErrExists), errors.Is(err, ErrStaleHandle):
		return "refused"
	}
	return "error"
}

// EnsureDisk implements Hypervisor.
func (o *observed) EnsureDisk(ctx context.Context, src DiskSource) (ref DiskRef, err error) {
	err = o.call(ctx, "EnsureDisk", "", func(ctx context.Context) (err error) {
		ref, err = o.Hypervisor.EnsureDisk(ctx, src)
		return err
	})
	return ref, err
}

// CollectDisks implements Hypervisor.
func (o *observed) CollectDisks(ctx context.Context, keep func(DiskRef) bool) error {
	return o.call(ctx, "CollectDisks", "", func(ctx context.Context) error { return o.Hypervisor.CollectDisks(ctx, keep) })
}

// Create implements Hypervisor.
func (o *observed) Create(ctx context.Context, spec Spec) (vm VM, err error) {
	err = o.call(ctx, "Create", spec.ID, func(ctx context.Context) (err error) {
		vm, err = o.Hypervisor.Create(ctx, spec)
		return err
	})
	return vm, err
}

// Update implements Hypervisor.
func (o *observed) Update(ctx context.Context, spec Spec, version uint64) (vm VM, err error) {
	err = o.call(ctx, "Update", spec.ID, func(ctx context.Context) (err error) {
		vm, err = o.Hypervisor.Update(ctx, spec, version)
		return err
	})
	return vm, err
}

// PowerOn implements Hypervisor.
func (o *observed) PowerOn(ctx context.Context, id string) error {
	return o.call(ctx, "PowerOn", id, func(ctx context.Context) error { return o.Hypervisor.PowerOn(ctx, id) })
}

// PowerOff implements Hypervisor.
func (o *observed) PowerOff(ctx context.Context, id string) error {
	return o.call(ctx, "PowerOff", id, func(ctx context.Context) error { return o.Hypervisor.PowerOff(ctx, id) })
}

// Destroy implements Hypervisor.
func (o *observed) Destroy(ctx context.Context, id string) error {
	return o.call(ctx, "Destroy", id, func(ctx context.Context) error { return o.Hypervisor.Destroy(ctx, id) })
}

// List implements Hypervisor.
func (o *observed) List(ctx context.Context) (vms []VM, err error) {
	err = o.call(ctx, "List", "", func(ctx context.Context) (err error) {
		vms, err = o.Hypervisor.List(ctx)
		return err
	})
	return vms, err
}

// Dial implements Dialer; ErrUnsupported where the hypervisor does not.
func (o *observed) Dial(ctx context.Context, id string) (conn io.ReadWriteCloser, err error) {
	dialer, err := role[Dialer](o.Hypervisor, "channel to the guest")
	if err != nil {
		return nil, err
	}
	err = o.call(ctx, "Dial", id, func(ctx context.Context) (err error) {
		conn, err = dialer.Dial(ctx, id)
		return err
	})
	return conn, err
}

// Console implements ConsoleReader; ErrUnsupported where the hypervisor does not.
func (o *observed) Console(ctx context.Context, id string) (text []byte, err error) {
	reader, err := role[ConsoleReader](o.Hypervisor, "console")
	if err != nil {
		return nil, err
	}
	err = o.call(ctx, "Console", id, func(ctx context.Context) (err error) {
		text, err = reader.Console(ctx, id)
		return err
	})
	return text, err
}

// Capacity implements Hypervisor.
func (o *observed) Capacity(ctx context.Context) (c Capacity, err error) {
	err = o.call(ctx, "Capacity", "", func(ctx context.Context) (err error) {
		c, err = o.Hypervisor.Capacity(ctx)
		return err
	})
	return c, err
}
