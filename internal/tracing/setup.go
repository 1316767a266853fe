package tracing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
)

// flushTimeout bounds what the end of the program waits for spans to be sent.
const flushTimeout = 5 * time.Second

// Config says where spans go. The zero value is nowhere, unless OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set.
type Config struct {
	// Endpoint is a collector that speaks OTLP over gRPC: HOST:PORT or http://HOST:PORT without TLS, https://HOST:PORT
	// with it.
	Endpoint string
	// NodeName is the node whose spans these are.
	NodeName string
}

// Validate returns what is wrong with an endpoint.
func Validate(endpoint string) error {
	_, err := options(endpoint)
	return err
}

// SetUp sends spans to the endpoint from now on, as many of them as OTEL_TRACES_SAMPLER says (default: all). The returned
// function sends what is left and ends that; it is never nil. A collector that is away costs spans and nothing else.
func SetUp(ctx context.Context, cfg Config) (shutdown func(context.Context) error, err error) {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || (cfg.Endpoint == "" && !fromEnvironment()) {
		return func(context.Context) error { return nil }, nil
	}
	opts, err := options(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracegrpc.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	what, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "vic"),
			attribute.String("service.version", version.Version),
			attribute.String("k8s.node.name", cfg.NodeName),
		),
		resource.WithFromEnv(), // wins
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describe traces (OTEL_RESOURCE_ATTRIBUTES): %w", err), exporter.Shutdown(ctx))
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(what))
	life := context.WithoutCancel(ctx)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logging.From(life).WarnContext(life, "traces were not sent", "err", err)
	}))
	otel.SetTracerProvider(provider)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("send the last traces: %w", err)
		}
		return nil
	}, nil
}

func fromEnvironment() bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// options are none for an empty endpoint: the exporter then reads the environment.
func options(endpoint string) ([]otlptracegrpc.Option, error) {
	if endpoint == "" {
		return nil, nil
	}
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		if u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("endpoint %q: want HOST:PORT, http:// or https://", endpoint)
		}
		return []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(endpoint)}, nil
	}
	if host, port, err := net.SplitHostPort(endpoint); err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("endpoint %q: want HOST:PORT, http:// or https://", endpoint)
	}
	return []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure()}, nil
}
