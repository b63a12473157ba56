// Package journaltest holds what every journal must do as one suite, and a journal in memory that can be made to fail.
package journaltest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Memory is a journal that forgets. Its hook is asked before and after each append is stored: an error from it is a crash at
// that point.
type Memory struct {
	mu     sync.Mutex
	events []journal.Event
	Hook   func(stored bool, events []journal.Event) error
}

// Append implements journal.Journal.
func (m *Memory) Append(_ context.Context, after journal.Seq, events ...journal.Event) (journal.Seq, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if journal.Seq(len(m.events)) != after {
		return 0, journal.ErrConflict
	}
	if m.Hook != nil {
		if err := m.Hook(false, events); err != nil {
			return 0, err
		}
	}
	for _, e := range events {
		after++
		e.Seq = after
		m.events = append(m.events, e)
	}
	if m.Hook != nil {
		if err := m.Hook(true, events); err != nil {
			return 0, err
		}
	}
	return after, nil
}

// Read implements journal.Journal.
func (m *Memory) Read(_ context.Context, from journal.Seq) iter.Seq2[journal.Event, error] {
	m.mu.Lock()
	events := m.events
	m.mu.Unlock()
	return func(yield func(journal.Event, error) bool) {
		for _, e := range events {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}

// Conform checks what the Journal interface promises. The function given opens the same, at first empty, journal each time
// it is called, having closed it where that is needed.
func Conform(t *testing.T, reopen func() journal.Journal) {
	t.Helper()
	ctx := t.Context()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	event := func(kind journal.Kind) journal.Event {
		return journal.New(at, "alice", kind, "s", map[string]int{"n": 1})
	}
	j := reopen()
	mustAppend(ctx, t, j, 0, 2, event("a"), event("b"))
	if _, err := j.Append(ctx, 1, event("stale")); !errors.Is(err, journal.ErrConflict) {
		t.Fatalf("append after 1 where 2 is the last: %v, want ErrConflict", err)
	}
	mustAppend(ctx, t, j, 2, 3, event("c"))
	j = reopen()
	var got []journal.Event
	for e, err := range j.Read(ctx, 2) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if len(got) != 2 || got[0].Kind != "b" || got[1].Kind != "c" || got[1].Seq != 3 || !got[1].At.Equal(at) || string(got[1].Data) != `{"n":1}` {
		t.Fatalf("read from 2 after reopening: %+v", got)
	}
	race(ctx, t, j)
}

// race lets several writers append after the same event: exactly one may win.
func race(ctx context.Context, t *testing.T, j journal.Journal) {
	t.Helper()
	var wg sync.WaitGroup
	won := make(chan int, 8)
	for i := range 8 {
		wg.Go(func() {
			if _, err := j.Append(ctx, 3, journal.New(time.Now(), "racer", "d", "", i)); err == nil {
				won <- i
			} else if !errors.Is(err, journal.ErrConflict) {
				t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d writers appended after the same event, want 1", len(won))
	}
}

func mustAppend(ctx context.Context, t *testing.T, j journal.Journal, after, want journal.Seq, events ...journal.Event) {
	t.Helper()
	last, err := j.Append(ctx, after, events...)
	if err != nil || last != want {
		t.Fatalf("append after %d: %d, %v; want %d", after, last, err, want)
	}
}
