package logging

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
)

// Into returns a context that carries l.
func Into(ctx context.Context, l *slog.Logger) context.Context {
	return logr.NewContextWithSlogLogger(ctx, l)
}

// From returns the logger that ctx carries, and slog's default where it carries none.
func From(ctx context.Context) *slog.Logger {
	if l := logr.FromContextAsSlogLogger(ctx); l != nil {
		return l
	}
	return slog.Default()
}

// With returns a context whose logger adds the given key and value pairs to each record.
func With(ctx context.Context, args ...any) context.Context {
	return Into(ctx, From(ctx).With(args...))
}
