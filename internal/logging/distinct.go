package logging

import (
	"context"
	"log/slog"
	"slices"
)

// Distinct returns a handler that passes records on to h, without the attributes that their logger carries already: whoever
// logs names the VM, whether a caller has put it into the context or not.
func Distinct(h slog.Handler) slog.Handler { return distinct{Handler: h} }

type distinct struct {
	slog.Handler
	carried []slog.Attr
}

// Handle implements slog.Handler.
func (d distinct) Handle(ctx context.Context, r slog.Record) error {
	if len(d.carried) == 0 {
		return d.Handler.Handle(ctx, r)
	}
	rest := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !d.carries(a) {
			rest.AddAttrs(a)
		}
		return true
	})
	return d.Handler.Handle(ctx, rest)
}

// WithAttrs implements slog.Handler.
func (d distinct) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = slices.DeleteFunc(slices.Clone(attrs), d.carries)
	return distinct{d.Handler.WithAttrs(attrs), slices.Concat(d.carried, attrs)}
}

// WithGroup implements slog.Handler. What comes in a group is not what is carried outside.
func (d distinct) WithGroup(name string) slog.Handler {
	return distinct{Handler: d.Handler.WithGroup(name)}
}

// carries is true for a text or number that the logger carries with the same key. Others may not be comparable.
func (d distinct) carries(a slog.Attr) bool {
	value := a.Value.Resolve()
	return value.Kind() != slog.KindAny && value.Kind() != slog.KindGroup && slices.ContainsFunc(d.carried, func(c slog.Attr) bool {
		return c.Key == a.Key && c.Value.Resolve().Kind() == value.Kind() && c.Value.Resolve().Equal(value)
	})
}
