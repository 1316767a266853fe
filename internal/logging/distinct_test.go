package logging_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/internal/logging"
)

func TestDistinct(t *testing.T) {
	tests := map[string]struct {
		log  func(ctx context.Context)
		want string
	}{
		"what the context carries is said once": {func(ctx context.Context) {
			ctx = logging.With(ctx, "pod", "default/web", "vm", "uid-1")
			logging.From(ctx).WarnContext(ctx, "guest did not power off", "vm", "uid-1", "err", errors.New("silent"))
		}, "level=WARN msg=\"guest did not power off\" pod=default/web vm=uid-1 err=silent\n"},
		"also when it is put into it twice": {func(ctx context.Context) {
			ctx = logging.With(logging.With(ctx, "vm", "uid-1"), "vm", "uid-1", "op", "create")
			logging.From(ctx).InfoContext(ctx, "step done")
		}, "level=INFO msg=\"step done\" vm=uid-1 op=create\n"},
		"another VM than the carried one is named": {func(ctx context.Context) {
			ctx = logging.With(ctx, "vm", "uid-1")
			logging.From(ctx).InfoContext(ctx, "VM listed", "vm", "uid-2")
		}, "level=INFO msg=\"VM listed\" vm=uid-1 vm=uid-2\n"},
		"a group has keys of its own": {func(ctx context.Context) {
			ctx = logging.With(ctx, "vm", "uid-1")
			logging.From(ctx).WithGroup("other").InfoContext(ctx, "VM listed", "vm", "uid-1")
		}, "level=INFO msg=\"VM listed\" vm=uid-1 other.vm=uid-1\n"},
		"values that can't be compared are left alone": {func(ctx context.Context) {
			ctx = logging.With(ctx, "disks", []string{"a"})
			logging.From(ctx).InfoContext(ctx, "VM listed", "disks", []string{"a"})
		}, "level=INFO msg=\"VM listed\" disks=[a] " + "disks=[a]\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			noTime := func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}
			h := logging.Distinct(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: noTime}))
			tt.log(logging.Into(t.Context(), slog.New(h)))
			assert.Equal(t, tt.want, out.String())
		})
	}
}
