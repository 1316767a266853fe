// Package tracing makes OpenTelemetry spans and sends them where they are wanted.
//
// Spans are made all the time and cost next to nothing until [SetUp] has a place to send them. A span travels in the
// context, like the logger.
//
//	ctx, end := tracing.Start(ctx, "create pod VM", tracing.PodUID(uid))
//	err := create(ctx)
//	end(err)
package tracing
