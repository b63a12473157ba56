// Package sentry tells Sentry of panics and errors, and of the timing of some requests. An allow-list decides what leaves
// the process: what a client sent, its headers, cookies, query and body, is not on it.
package sentry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	sdk "github.com/getsentry/sentry-go"
)

// Config says whom to tell, and as what.
type Config struct {
	DSN         string
	Service     string
	Release     string
	Environment string
	TracesRate  float64 // share of requests whose timing is told, 0 to 1
}

// CheckDSN says what is wrong with the address of a project.
func CheckDSN(dsn string) error {
	if _, err := sdk.NewDsn(dsn); err != nil {
		return errors.New("is no DSN of a Sentry project (https://key@host/project)")
	}
	return nil
}

// Reporter tells Sentry. Its methods return at once; what Sentry does not take is dropped.
type Reporter struct {
	client  *sdk.Client
	rate    float64
	second  atomic.Int64
	told    atomic.Int64 // events of that second
	dropped atomic.Int64
}

const (
	// eventsPerSecond is how many errors are told: of a storm of them the first say all there is to say.
	eventsPerSecond = 20
	// sendTimeout is how long Sentry may take to answer.
	sendTimeout = 10 * time.Second
)

// Open makes a reporter. It sends nothing yet.
func Open(cfg Config) (*Reporter, error) {
	client, err := sdk.NewClient(sdk.ClientOptions{
		Dsn: cfg.DSN, Release: cfg.Release, Environment: cfg.Environment, ServerName: cfg.Service,
		SampleRate: 1, MaxBreadcrumbs: -1, DisableClientReports: true,
		BeforeSend:            func(e *sdk.Event, _ *sdk.EventHint) *sdk.Event { return permitted(e) },
		BeforeSendTransaction: func(e *sdk.Event, _ *sdk.EventHint) *sdk.Event { return permitted(e) },
		Integrations:          func([]sdk.Integration) []sdk.Integration { return nil }, // they add what the machine and its modules are
		HTTPClient:            &http.Client{Timeout: sendTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, ForceAttemptHTTP2: true}},
	})
	if err != nil {
		return nil, fmt.Errorf("sentry: %w", err)
	}
	return &Reporter{client: client, rate: cfg.TracesRate}, nil
}

// About is what is told of the request that something happened in.
type About struct {
	RequestID string
	TraceID   string // 32 hexadecimal digits, or ""
	SpanID    string // 16, or ""
	Method    string
	Endpoint  string // the route's pattern, never the path
	Status    int
}

// Dropped is how many events were not told because there were too many.
func (r *Reporter) Dropped() int64 { return r.dropped.Load() }

// admit says whether another event may be told this second.
func (r *Reporter) admit() bool {
	now := time.Now().Unix()
	if r.second.Swap(now) != now {
		r.told.Store(0)
	}
	if r.told.Add(1) > eventsPerSecond {
		r.dropped.Add(1)
		return false
	}
	return true
}

// Panic tells of a panic; it is to be called in the deferred function that recovered it. given are texts of the client's
// that must not leave, should the panic repeat one.
func (r *Reporter) Panic(value any, a About, given []string) {
	if !r.admit() {
		return
	}
	e := event(sdk.LevelFatal, "panic", a)
	kind := "panic"
	if err, ok := value.(error); ok {
		kind = fmt.Sprintf("panic: %T", err)
	}
	e.Exception = []sdk.Exception{{Type: kind, Value: scrub(fmt.Sprint(value), given), Stacktrace: sdk.NewStacktrace()}}
	r.client.CaptureEvent(e, nil, nil)
}

// Error tells of a line of the log: its message, and the error in it.
func (r *Reporter) Error(logger, message, cause string, a About) {
	if !r.admit() {
		return
	}
	e := event(sdk.LevelError, logger, a)
	e.Message = scrub(message, nil)
	if cause != "" {
		e.Exception = []sdk.Exception{{Type: e.Message, Value: scrub(cause, nil)}}
	}
	r.client.CaptureEvent(e, nil, nil)
}

// Sampled says whether the timing of a request is to be told.
func (r *Reporter) Sampled() bool { return r.rate > 0 && rand.Float64() < r.rate }

// Request tells how long a request took.
func (r *Reporter) Request(a About, start, end time.Time) {
	e := event(sdk.LevelInfo, "request", a)
	e.Type, e.StartTime, e.Timestamp = "transaction", start, end
	e.TransactionInfo = &sdk.TransactionInfo{Source: sdk.SourceRoute}
	r.client.CaptureEvent(e, nil, nil)
}

func event(level sdk.Level, logger string, a About) *sdk.Event {
	e := sdk.NewEvent()
	e.Level, e.Logger = level, logger
	if a.Method != "" {
		e.Transaction = a.Method + " " + a.Endpoint
	}
	for name, value := range map[string]string{"request_id": a.RequestID, "method": a.Method, "endpoint": a.Endpoint} {
		if value != "" {
			e.Tags[name] = value
		}
	}
	if a.Status > 0 {
		e.Tags["status"] = fmt.Sprint(a.Status)
	}
	trace := sdk.Context{"op": "http.server"}
	for name, value := range map[string]string{"trace_id": a.TraceID, "span_id": a.SpanID} {
		if value != "" {
			trace[name] = value
		}
	}
	if a.TraceID != "" {
		e.Contexts["trace"] = trace
	}
	return e
}

// flushTimeout is how long a stop waits for Sentry: a dead one must not use up the time of others.
const flushTimeout = 2 * time.Second

// Close sends what waits, as far as there is time, and ends the reporter.
func (r *Reporter) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	closed := make(chan bool, 1)
	go func() {
		flushed := r.client.FlushWithContext(ctx)
		r.client.Close() // which waits for an answer under way
		closed <- flushed
	}()
	select {
	case flushed := <-closed:
		if flushed {
			return nil
		}
	case <-ctx.Done():
	}
	return errors.New("sentry did not take everything in time")
}
