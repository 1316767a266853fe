package tracing

import (
	"context"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// Send is SetUp for a whole program: it sends spans until end is called, which sends the last ones. What is lost is logged.
func Send(ctx context.Context, cfg Config) (end func(), err error) {
	shutdown, err := SetUp(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return func() {
		if err := shutdown(context.WithoutCancel(ctx)); err != nil {
			logging.From(ctx).WarnContext(ctx, "traces lost", "err", err)
		}
	}, nil
}
