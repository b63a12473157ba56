package local

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"

	"github.com/covetpy/covet/internal/adminclient"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/server/admin"
	"github.com/covetpy/covet/server/workers"
)

// Backend lets the operations API ask the desk, and read the workers' logs. It implements admin.Backend.
type Backend struct {
	Desk       *console.Desk
	Supervisor *workers.Supervisor
}

// Ask implements admin.Backend.
func (b *Backend) Ask(ctx context.Context, _ admin.Identity, op string, q url.Values) (any, error) {
	query, err := adminclient.DecodeQuery(q)
	if err != nil {
		return nil, err
	}
	return b.Desk.Ask(ctx, console.Op(op), query)
}

// Do implements admin.Backend.
func (b *Backend) Do(ctx context.Context, who admin.Identity, op string, body json.RawMessage) (any, error) {
	return b.Desk.Do(ctx, console.Caller{Name: who.Name, Groups: who.Groups}, console.Op(op), body)
}

// Watch implements admin.Backend.
func (b *Backend) Watch(ctx context.Context, _ admin.Identity, after uint64) iter.Seq2[any, error] {
	return anyItems(b.Desk.Watch(ctx, journal.Seq(after)))
}

// Logs implements admin.Backend.
func (b *Backend) Logs(ctx context.Context, _ admin.Identity, q url.Values) iter.Seq2[any, error] {
	query, err := adminclient.DecodeLogQuery(q)
	if err != nil {
		return failed(err)
	}
	found := b.Supervisor.Logs(ctx, logFilter(query), query.Follow)
	return func(yield func(any, error) bool) {
		for l, err := range found {
			if !yield(logLine(l), err) {
				return
			}
		}
	}
}

func logFilter(q console.LogQuery) workers.LogFilter {
	return workers.LogFilter{Release: q.Release, Instance: q.Instance, After: q.After, Tail: q.Lines}
}

func logLine(l workers.LogLine) console.LogLine {
	return console.LogLine{Seq: l.Seq, At: l.Time, Release: l.Release, Instance: l.Instance, Stream: l.Stream, Text: l.Text}
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

func failed(err error) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) { yield(nil, err) }
}
