// Package tracing tells an OpenTelemetry collector of requests, by OTLP over HTTP, and passes the trace on (W3C Trace
// Context).
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where traces go, and which.
type Config struct {
	Endpoint    string // URL that spans are posted to
	Headers     map[string]string
	Service     string
	Version     string
	Environment string
	Sampler     string // a name of the OpenTelemetry specification
	Ratio       float64
	Log         *slog.Logger
}

// Tracer makes spans. They are sent in the background, in batches; what the collector does not take is dropped.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	context  propagation.TraceContext
}

// Open makes a tracer. It sends nothing yet, and a collector that is away is no error.
func Open(ctx context.Context, cfg Config) (*Tracer, error) {
	sampler, err := samplerOf(cfg.Sampler, cfg.Ratio)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.Endpoint), otlptracehttp.WithHeaders(cfg.Headers))
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	otel.SetErrorHandler(&complaints{log: cfg.Log})
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithSampler(sampler),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", cfg.Service),
			attribute.String("service.version", cfg.Version),
			attribute.String("deployment.environment.name", cfg.Environment),
		)))
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/covetpy/covet/server")}, nil
}

func samplerOf(name string, ratio float64) (sdktrace.Sampler, error) {
	switch name {
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(ratio), nil
	case "parentbased_always_on":
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), nil
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample()), nil
	case "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio)), nil
	}
	return nil, fmt.Errorf("there is no sampler %q", name)
}

// complaints logs what the library cannot do, at most once in ten seconds.
type complaints struct {
	log  *slog.Logger
	last atomic.Int64
}

// Handle is called by the library.
func (c *complaints) Handle(err error) {
	now := time.Now().Unix()
	if last := c.last.Load(); now-last < 10 || !c.last.CompareAndSwap(last, now) {
		return
	}
	c.log.Warn("traces were not delivered", "error", err)
}

// Span is one request's part in a trace.
type Span struct {
	span    trace.Span
	TraceID string // 32 hexadecimal digits
	SpanID  string // 16
}

// Start begins the span of a request and replaces the headers that tell of the caller's by those that tell of ours. A
// handler finds the span in the context, as the library does (trace.SpanFromContext).
func (t *Tracer) Start(ctx context.Context, r *http.Request) (context.Context, *Span) {
	carrier := propagation.HeaderCarrier(r.Header)
	ctx = t.context.Extract(ctx, carrier)
	ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	t.context.Inject(ctx, carrier)
	c := span.SpanContext()
	return ctx, &Span{span: span, TraceID: c.TraceID().String(), SpanID: c.SpanID().String()}
}

// Sent is what is told of a request once it has been answered.
type Sent struct {
	ID     string // of the request
	Method string
	Route  string // its pattern
	Path   string
	Status int
	Bytes  int64
	Panic  bool
}

// End ends the span.
func (s *Span) End(r Sent, at time.Time) {
	if !s.span.IsRecording() {
		return
	}
	s.span.SetName(r.Method + " " + r.Route)
	s.span.SetAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Route), attribute.String("url.path", r.Path),
		attribute.Int("http.response.status_code", r.Status), attribute.Int64("http.response.body.size", r.Bytes),
		attribute.String("request.id", r.ID))
	if r.Status >= http.StatusInternalServerError || r.Panic {
		s.span.SetStatus(codes.Error, http.StatusText(r.Status))
	}
	s.span.End(trace.WithTimestamp(at))
}

// closeTimeout is how long a stop waits for the collector: a dead one must not use up the time of others.
const closeTimeout = 2 * time.Second

// Close sends what waits, as far as there is time, and ends the tracer.
func (t *Tracer) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("deliver the last traces: %w", err)
	}
	return nil
}
