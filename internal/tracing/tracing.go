package tracing

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope names what made the spans.
const scope = "github.com/virtual-kubelet/vic"

// Attributes that spans of more than one package have.
const (
	keyPod       = attribute.Key("k8s.pod.name")
	keyNamespace = attribute.Key("k8s.namespace.name")
	keyPodUID    = attribute.Key("k8s.pod.uid")
	keyVM        = attribute.Key("vic.vm.id")
	keyContainer = attribute.Key("k8s.container.name")
	keyImage     = attribute.Key("container.image.name")
)

// Pod says of which pod a span is.
func Pod(namespace, name, uid string) []attribute.KeyValue {
	return []attribute.KeyValue{keyNamespace.String(namespace), keyPod.String(name), keyPodUID.String(uid)}
}

// VM says of which VM a span is.
func VM(id string) attribute.KeyValue { return keyVM.String(id) }

// PodUID says of which pod a span is.
func PodUID(uid string) attribute.KeyValue { return keyPodUID.String(uid) }

// Container says of which container a span is.
func Container(name string) attribute.KeyValue { return keyContainer.String(name) }

// Image says of which image a span is.
func Image(ref string) attribute.KeyValue { return keyImage.String(ref) }

// Start begins a span below the one that ctx carries, and returns a context with it and the function that ends it, with
// the error of what it stands for. That function is called once.
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	ctx, span := otel.Tracer(scope).Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, func(err error) { End(span, err) }
}

// Begin begins a span without a parent, for what outlives the context of its beginning.
func Begin(name string, attributes ...attribute.KeyValue) trace.Span {
	_, span := otel.Tracer(scope).Start(context.Background(), name, trace.WithNewRoot(), trace.WithAttributes(attributes...))
	return span
}

// End ends a span with the error of what it stands for.
func End(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
