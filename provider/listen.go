package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen says where a kubelet's API is served.
type Listen struct {
	// Address is HOST:PORT; port 0 is any that is free.
	Address string
	// OrAnyPort takes a free port of the same host where that one is in use.
	OrAnyPort bool
	// Setting is what the user gave the port with; an error names it.
	Setting string
}

func (l Listen) open(ctx context.Context) (net.Listener, error) {
	on, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
	if errors.Is(err, syscall.EADDRINUSE) && l.OrAnyPort {
		host, _, _ := net.SplitHostPort(l.Address) // it was valid a moment ago
		on, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmp.Or(l.Setting, "kubelet API"), err)
	}
	return on, nil
}
