package main

import (
	"context"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
)

// sendTraces sends traces until end is called, which sends the last ones.
func sendTraces(ctx context.Context, endpoint, node string) (end func(), err error) {
	shutdown, err := tracing.SetUp(ctx, tracing.Config{Endpoint: endpoint, NodeName: node})
	if err != nil {
		return nil, err
	}
	return func() {
		if err := shutdown(context.WithoutCancel(ctx)); err != nil {
			logging.From(ctx).WarnContext(ctx, "traces lost", "err", err)
		}
	}, nil
}
