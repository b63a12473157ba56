package server

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/covetpy/covet/server/sentry"
	"github.com/covetpy/covet/server/tracing"
	"github.com/prometheus/client_golang/prometheus"
)

// openObservers makes those who are told what the service does. They are components of the first hour, so that they hear
// how all others stop.
func (s *Server) openObservers() error {
	c := s.cfg.Observe
	if c.SentryDSN != "" {
		r, err := sentry.Open(sentry.Config{DSN: c.SentryDSN.Reveal(), Service: s.cfg.Service, Release: s.cfg.Release(), Environment: s.cfg.Environment, TracesRate: c.SentryTracesRate})
		if err != nil {
			return err
		}
		s.sentry = r
		s.log.report.tell = func(ctx context.Context, name, message, cause, requestID string) {
			about := sentry.About{RequestID: requestID}
			if rc, ok := ctx.Value(requestContextKey{}).(*requestContext); ok {
				about.TraceID = rc.traceID
			}
			r.Error(name, message, cause, about)
		}
		s.metrics.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "covetpy_sentry_dropped_total", Help: "Errors that Sentry was not told of because there were too many.",
		}, func() float64 { return float64(r.Dropped()) }))
		s.Component(Component{Name: "sentry", Stop: s.unlessLate(r.Close)})
	}
	if c.TracesEndpoint != "" {
		headers := make(map[string]string, len(c.TracesHeaders))
		for name, value := range c.TracesHeaders {
			headers[name] = value.Reveal()
		}
		name := cmp.Or(c.TracesName, s.cfg.Service)
		t, err := tracing.Open(context.Background(), tracing.Config{Endpoint: c.TracesEndpoint, Headers: headers, Service: name,
			Version: s.cfg.Release(), Environment: s.cfg.Environment, Sampler: c.TracesSampler, Ratio: c.TracesRatio, Log: s.Logger("traces")})
		if err != nil {
			return err
		}
		s.tracer = t
		s.Component(Component{Name: "traces", Stop: s.unlessLate(t.Close)})
	}
	return nil
}

// unlessLate makes a failure to deliver the last of what was observed a warning: the service has stopped as it should.
func (s *Server) unlessLate(closing func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := closing(ctx); err != nil {
			s.log.unreported.Warn("not everything was delivered", "error", err)
		}
		return nil
	}
}

// trace begins the request's span, where there are any, and returns the context it is in.
func (s *Server) trace(w *response, r *http.Request) context.Context {
	if _, own := s.own[r.URL.Path]; own {
		return r.Context() // probes are no requests of anybody's
	}
	ctx, span := s.tracer.Start(r.Context(), r)
	w.span = span
	return ctx
}

// tellPanic tells Sentry of a panic. It is called in the deferred function that recovered it.
func (w *response) tellPanic(v any) {
	if r := w.server.sentry; r != nil {
		r.Panic(v, w.about(http.StatusInternalServerError), givenBy(w.request))
	}
}

// about is what Sentry is told of the request.
func (w *response) about(status int) sentry.About {
	a := sentry.About{RequestID: w.ctx.id[0], TraceID: w.ctx.traceID, Method: methods[methodIndex(w.request.Method)], Endpoint: w.server.endpoint(w), Status: status}
	if w.span != nil {
		a.SpanID = w.span.SpanID
	}
	return a
}

// givenBy lists what the client sent that may be a secret, as a whole and in parts.
func givenBy(r *http.Request) []string {
	given := []string{r.URL.RawQuery, r.URL.Path}
	for _, values := range r.URL.Query() {
		given = append(given, values...)
	}
	for _, c := range r.Cookies() {
		given = append(given, c.Value)
	}
	for name, values := range r.Header {
		switch name {
		case headerRequestID, headerTraceparent, "Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "Content-Length", "Connection", "User-Agent":
			continue
		}
		for _, v := range values {
			given = append(given, v)
			given = append(given, strings.Fields(v)...)
		}
	}
	return given
}

// tellObservers tells of a request that has been answered.
func (w *response) tellObservers(endpoint string, took time.Duration, panicked bool) {
	end := w.start.Add(took)
	if w.span != nil {
		w.span.End(tracing.Sent{ID: w.ctx.id[0], Method: methods[methodIndex(w.request.Method)], Route: endpoint, Path: w.request.URL.Path,
			Status: w.status, Bytes: w.bytes, Panic: panicked}, end)
		w.span = nil
	}
	if r := w.server.sentry; r != nil && !w.own && r.Sampled() {
		r.Request(w.about(w.status), w.start, end)
	}
}
