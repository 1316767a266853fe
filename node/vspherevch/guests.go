package vspherevch

import (
	"context"
	"net"

	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
)

// guestListener is where guests of VCHs dial in.
type guestListener struct {
	*channels.Listener
	stop   context.CancelFunc
	served chan error
}

// listenForGuests listens at that address until close is called.
func listenForGuests(ctx context.Context, address string, authority *channels.Authority) (*guestListener, error) {
	on, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	g := &guestListener{Listener: channels.New(authority), served: make(chan error, 1)}
	ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	// Ends with close, or with the listener.
	go func() { g.served <- g.Serve(ctx, on) }()
	return g, nil
}

// run returns what ended the listener, or nil when ctx ends.
func (g *guestListener) run(ctx context.Context) error {
	select {
	case err := <-g.served:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (g *guestListener) close() { g.stop() }
