package mempods

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// entropyBytes seed the guest's random pool.
const entropyBytes = 32

// Configure implements podvm.Guests.
func (h *Host) Configure(_ context.Context, id string, pod wire.Pod) (ready wire.Ready, err error) {
	err = h.call(id, "configure", func(g *fakeguest.Guest, spec portlayer.Spec) (err error) {
		ready, err = g.Configure(complete(pod, spec))
		return err
	})
	return ready, err
}

// complete adds to a plan what the VM says.
func complete(pod wire.Pod, spec portlayer.Spec) wire.Pod {
	pod.UID, pod.Interfaces, pod.ScratchDisk = spec.ID, nil, ""
	for _, nic := range spec.NICs {
		pod.Interfaces = append(pod.Interfaces, wire.Interface{
			MAC: nic.MAC, Addresses: nic.Addresses, Gateways: nic.Gateways, MTU: nic.MTU,
		})
	}
	isScratch := func(d portlayer.Disk) bool { return d.Kind == portlayer.DiskScratch }
	if i := slices.IndexFunc(spec.Disks, isScratch); i >= 0 {
		pod.ScratchDisk = spec.Disks[i].Serial
	}
	pod.Time, pod.Entropy = time.Now(), make([]byte, entropyBytes)
	_, _ = rand.Read(pod.Entropy) // never fails
	return pod
}

// PutFiles implements podvm.Guests.
func (h *Host) PutFiles(_ context.Context, id string, files wire.Files) error {
	return h.call(id, "put files of volume "+files.Volume+" into", func(g *fakeguest.Guest, _ portlayer.Spec) error {
		return g.PutFiles(files)
	})
}

// Run implements podvm.Guests.
func (h *Host) Run(_ context.Context, id string, c wire.Container) error {
	return h.call(id, "run container "+c.Name+" in", func(g *fakeguest.Guest, _ portlayer.Spec) error { return g.Run(c) })
}

// Stop implements podvm.Guests.
func (h *Host) Stop(_ context.Context, id string, stop wire.Stop) error {
	return h.call(id, "stop containers in", func(g *fakeguest.Guest, _ portlayer.Spec) error {
		g.Stop(stop)
		return nil
	})
}

// Stats implements podvm.Guests.
func (h *Host) Stats(_ context.Context, id string) (stats wire.Stats, err error) {
	err = h.call(id, "ask for stats of", func(g *fakeguest.Guest, _ portlayer.Spec) error {
		stats = g.Stats()
		return nil
	})
	return stats, err
}

// Exec implements podvm.Streams.
func (h *Host) Exec(ctx context.Context, id, container string, exec wire.Exec, stdio podvm.Stdio) (exit wire.Exit, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = h.call(id, "exec in container "+container+" of", func(g *fakeguest.Guest, _ portlayer.Spec) (err error) {
		exit, err = g.Exec(ctx, container, exec, streams(ctx, stdio))
		return notRunning(err)
	})
	return exit, err
}

// Attach implements podvm.Streams.
func (h *Host) Attach(ctx context.Context, id, container string, attach wire.Attach, stdio podvm.Stdio) (exit wire.Exit, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !attach.Stdin {
		stdio.Stdin = nil
	}
	err = h.call(id, "attach to container "+container+" of", func(g *fakeguest.Guest, _ portlayer.Spec) (err error) {
		exit, err = g.Attach(ctx, container, streams(ctx, stdio))
		return notRunning(err)
	})
	return exit, err
}

// streams are a user's ends. No script asks for the size of a terminal.
func streams(ctx context.Context, s podvm.Stdio) fakeguest.Stdio {
	// Ends with ctx or the user's channel.
	go drain(ctx, s.Resize)
	return fakeguest.Stdio{In: s.Stdin, Out: s.Stdout, Err: s.Stderr}
}

func drain(ctx context.Context, sizes <-chan wire.TerminalSize) {
	for {
		select {
		case _, ok := <-sizes:
			if !ok {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// DialPort implements podvm.Streams. The connection has a CloseWrite method.
func (h *Host) DialPort(ctx context.Context, id string, port uint16) (conn io.ReadWriteCloser, err error) {
	err = h.call(id, fmt.Sprintf("dial port %d of", port), func(g *fakeguest.Guest, _ portlayer.Spec) error {
		c, err := g.Dial(ctx, port)
		if err != nil {
			return err
		}
		conn = c
		return nil
	})
	return conn, err
}

// Console implements podvm.Streams. ErrUnsupported for a VM that is there: it has none.
func (h *Host) Console(_ context.Context, id string) ([]byte, error) {
	_, err := h.store.vmOf(id)
	if err == nil {
		err = portlayer.ErrUnsupported
	}
	return nil, fmt.Errorf("console of pod VM %s: %w", id, err)
}

// call makes a call to the guest of a VM that runs; what it does reads before "pod VM".
func (h *Host) call(id, what string, do func(*fakeguest.Guest, portlayer.Spec) error) error {
	p, err := h.store.vmOf(id)
	if err == nil {
		err = p.call(do)
	}
	if err != nil {
		return fmt.Errorf("%s pod VM %s: %w", what, id, err)
	}
	return nil
}

func (p *pod) call(do func(*fakeguest.Guest, portlayer.Spec) error) error {
	g := p.running()
	if g == nil {
		return portlayer.ErrNotRunning
	}
	return guestError(do(g, p.vm.Spec))
}

// notRunning gives the refusal of a call about a container that has to run its kind.
func notRunning(err error) error {
	var refused *fakeguest.RefusedError
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		return fmt.Errorf("%w: %w", portlayer.ErrNotRunning, err)
	}
	return err
}

// guestError gives a guest's answer the kind that the port layer has for it.
func guestError(err error) error {
	var refused *fakeguest.RefusedError
	switch {
	case errors.Is(err, fakeguest.ErrEnded):
		return fmt.Errorf("%w: %w", portlayer.ErrGuestUnreachable, err)
	case !errors.As(err, &refused):
		return err
	case refused.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", portlayer.ErrNotFound, err)
	}
	return err
}
