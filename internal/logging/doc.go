// Package logging keeps a [slog.Logger] in a context, with logr's slog carrier, so that client-go,
// controller-runtime and klog find the same one.
//
//	ctx = logging.With(ctx, "vm", uid)
//	logging.From(ctx).InfoContext(ctx, "pod VM started", "took", time.Since(begin))
package logging
