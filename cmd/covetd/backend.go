package main

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"

	"github.com/covetpy/covet/internal/adminclient"
	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/server/admin"
	"github.com/covetpy/covet/server/workers"
)

// deskBackend lets the operations API ask the desk, and read the workers' logs. It implements admin.Backend.
type deskBackend struct {
	desk       *console.Desk
	supervisor *workers.Supervisor
}

// Ask implements admin.Backend.
func (b *deskBackend) Ask(ctx context.Context, _ admin.Identity, op string, q url.Values) (any, error) {
	query, err := adminclient.DecodeQuery(q)
	if err != nil {
		return nil, err
	}
	return b.desk.Ask(ctx, console.Op(op), query)
}

// Do implements admin.Backend.
func (b *deskBackend) Do(ctx context.Context, who admin.Identity, op string, body json.RawMessage) (any, error) {
	return b.desk.Do(ctx, console.Caller{Name: who.Name, Groups: who.Groups}, console.Op(op), body)
}

// Watch implements admin.Backend.
func (b *deskBackend) Watch(ctx context.Context, _ admin.Identity, after uint64) iter.Seq2[any, error] {
	return anyItems(b.desk.Watch(ctx, journal.Seq(after)))
}

// Logs implements admin.Backend.
func (b *deskBackend) Logs(ctx context.Context, _ admin.Identity, q url.Values) iter.Seq2[any, error] {
	query, err := adminclient.DecodeLogQuery(q)
	if err != nil {
		return failedItems(err)
	}
	found := b.supervisor.Logs(ctx, local.LogFilter(query), query.Follow)
	return func(yield func(any, error) bool) {
		for l, err := range found {
			if !yield(local.LogLine(l), err) {
				return
			}
		}
	}
}

func anyItems[T any](items iter.Seq2[T, error]) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for item, err := range items {
			if !yield(item, err) {
				return
			}
		}
	}
}

func failedItems(err error) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) { yield(nil, err) }
}
