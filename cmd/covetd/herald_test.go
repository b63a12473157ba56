package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/notice"
)

func TestPeopleAreToldOnce(t *testing.T) {
	dir := t.TempDir()
	j, err := local.OpenJournal(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	keeper, err := rollout.OpenKeeper(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	notices := make(chan notice.Notice, 10)
	fail := errors.New("the queue is away")
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		h := &herald{keeper: keeper, environment: "production", service: "shop", mark: filepath.Join(dir, "told"), log: slog.New(slog.DiscardHandler),
			notify: func(_ context.Context, n notice.Notice) error { notices <- n; return nil }}
		if err := h.begin(); err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		running.Go(func() {
			if err := h.run(ctx); !errors.Is(err, context.Canceled) {
				t.Error(errors.Join(err, fail))
			}
		})
		return func() { cancel(); running.Wait() }
	}
	happens := func(kind journal.Kind, subject string, data any) {
		t.Helper()
		_, err := keeper.Decide(t.Context(), func(rollout.State) ([]journal.Event, error) {
			return []journal.Event{journal.New(time.Now(), "ann", kind, subject, data)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	incident := func(s health.Severity, id, why string) {
		t.Helper()
		i := health.Declare(health.DefaultMatrix(), s, why, time.Now())
		i.ID = id
		happens(health.IncidentOpened, id, i)
	}
	expect := func(words ...string) {
		t.Helper()
		select {
		case n := <-notices:
			for _, w := range words {
				if !strings.Contains(n.Subject+n.Text, w) {
					t.Errorf("the notice lacks %q: %+v", w, n)
				}
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nobody was told")
		}
	}
	incident("P2", "i-1", "before anybody listened")
	stop := run()
	happens(rollout.WarmRetired, "v1", nil) // nobody needs to know
	incident("P0", "i-2", "checkout is down")
	expect("checkout is down", "production/shop", "any engineer", "covetctl rollback")
	stop()
	incident("P1", "i-3", "while covetd was down")
	stop = run()
	expect("while covetd was down")
	stop()
	if len(notices) > 0 {
		t.Errorf("told twice: %+v", <-notices)
	}
}
