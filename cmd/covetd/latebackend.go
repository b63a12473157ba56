package main

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"sync/atomic"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/server/admin"
)

// lateBackend answers that covetd is starting until there is somebody who can answer.
type lateBackend struct {
	backend atomic.Pointer[admin.Backend]
}

func (l *lateBackend) set(b admin.Backend) { l.backend.Store(&b) }

func (l *lateBackend) get() (admin.Backend, error) {
	if b := l.backend.Load(); b != nil {
		return *b, nil
	}
	return nil, &console.Error{Code: console.CodeUnreachable, Message: "covetd is starting", Hint: "try again in a second"}
}

// Ask implements admin.Backend.
func (l *lateBackend) Ask(ctx context.Context, who admin.Identity, op string, q url.Values) (any, error) {
	b, err := l.get()
	if err != nil {
		return nil, err
	}
	return b.Ask(ctx, who, op, q)
}

// Do implements admin.Backend.
func (l *lateBackend) Do(ctx context.Context, who admin.Identity, op string, body json.RawMessage) (any, error) {
	b, err := l.get()
	if err != nil {
		return nil, err
	}
	return b.Do(ctx, who, op, body)
}

// Watch implements admin.Backend.
func (l *lateBackend) Watch(ctx context.Context, who admin.Identity, after uint64) iter.Seq2[any, error] {
	b, err := l.get()
	if err != nil {
		return func(yield func(any, error) bool) { yield(nil, err) }
	}
	return b.Watch(ctx, who, after)
}

// Logs implements admin.Backend.
func (l *lateBackend) Logs(ctx context.Context, who admin.Identity, q url.Values) iter.Seq2[any, error] {
	b, err := l.get()
	if err != nil {
		return func(yield func(any, error) bool) { yield(nil, err) }
	}
	return b.Logs(ctx, who, q)
}
