package main

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/server/admin"
)

// lateBackend makes whoever asks while covetd starts wait for the one who can answer.
type lateBackend struct {
	backend admin.Backend
	there   chan struct{} // closed once backend is set
}

// startPatience is how long a request waits before it is told that covetd is starting.
const startPatience = 5 * time.Second

func newLateBackend() *lateBackend { return &lateBackend{there: make(chan struct{})} }

// set must be called once.
func (l *lateBackend) set(b admin.Backend) {
	l.backend = b
	close(l.there)
}

func (l *lateBackend) get(ctx context.Context) (admin.Backend, error) {
	patience := time.NewTimer(startPatience)
	defer patience.Stop()
	select {
	case <-l.there:
		return l.backend, nil
	case <-ctx.Done():
	case <-patience.C:
	}
	return nil, &console.Error{Code: console.CodeUnreachable, Message: "covetd is starting", Hint: "try again in a few seconds"}
}

// Ask implements admin.Backend.
func (l *lateBackend) Ask(ctx context.Context, who admin.Identity, op string, q url.Values) (any, error) {
	b, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return b.Ask(ctx, who, op, q)
}

// Do implements admin.Backend.
func (l *lateBackend) Do(ctx context.Context, who admin.Identity, op string, body json.RawMessage) (any, error) {
	b, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return b.Do(ctx, who, op, body)
}

// Watch implements admin.Backend.
func (l *lateBackend) Watch(ctx context.Context, who admin.Identity, after uint64) iter.Seq2[any, error] {
	b, err := l.get(ctx)
	if err != nil {
		return func(yield func(any, error) bool) { yield(nil, err) }
	}
	return b.Watch(ctx, who, after)
}

// Logs implements admin.Backend.
func (l *lateBackend) Logs(ctx context.Context, who admin.Identity, q url.Values) iter.Seq2[any, error] {
	b, err := l.get(ctx)
	if err != nil {
		return func(yield func(any, error) bool) { yield(nil, err) }
	}
	return b.Logs(ctx, who, q)
}
