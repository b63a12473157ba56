package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/pg"
	"github.com/covetpy/covet/test/pg"
	"github.com/jackc/pgx/v5"
)

func database(t *testing.T, urls ...string) *pg.DB {
	t.Helper()
	db, err := pg.Open(pg.Config{URL: urls[0], Replicas: urls[1:], PoolSize: 4, MaxOverflow: 8})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db
}

// started makes a queue with one handler and starts it.
func started(t *testing.T, db *pg.DB, h Handler) *Queue {
	t.Helper()
	q, err := New(db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	q.Handle("greet", h)
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := q.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return q
}

// done collects what was done, and how often.
type done struct {
	mu   sync.Mutex
	seen map[string]int
}

func (d *done) do(_ context.Context, payload json.RawMessage) error {
	var name string
	if err := json.Unmarshal(payload, &name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	d.seen[name]++
	return nil
}

func (d *done) count(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[name]
}

func TestJobsInPostgreSQL(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	db := database(t, cluster.DSN())
	var d done
	q := started(t, db, d.do)
	if err := q.Add(t.Context(), "greet", "ann"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the job is done", func() bool { return d.count("ann") == 1 })

	broken := errors.New("no")
	err := db.Write(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(q.AddTx(ctx, tx, "greet", "never"), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := q.Add(t.Context(), "greet", "bob"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the next job is done", func() bool { return d.count("bob") == 1 })
	if d.count("never") != 0 || cluster.One("SELECT count(*) FROM river_job WHERE args->>'payload' = 'never'") != "0" {
		t.Error("a job of a transaction that was rolled back was kept")
	}
	if err := q.Add(t.Context(), "unknown", nil); err == nil {
		t.Error("a job that nothing does was taken")
	}
	pgtest.Eventually(t, "the depth is known", func() bool { _, ok := q.Depth()["available"]; return ok })
}

func TestAFailedJobIsDoneAgain(t *testing.T) {
	for name, db := range map[string]*pg.DB{"postgres": database(t, pgtest.Start(t, pgtest.Options{}).DSN()), "memory": nil} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			q := started(t, db, func(context.Context, json.RawMessage) error {
				switch n.Add(1) {
				case 1:
					return errors.New("the first time it fails")
				case 2:
					panic("the second time it panics")
				}
				return nil
			})
			if err := q.Add(t.Context(), "greet", "ann"); err != nil {
				t.Fatal(err)
			}
			pgtest.Eventually(t, "the third attempt", func() bool { return n.Load() == 3 })
		})
	}
}

func TestJobsFollowAPromotion(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	replica := pgtest.Follow(t, primary, nil)
	var d done
	begun, first := make(chan struct{}), true
	q := started(t, database(t, primary.DSN(), replica.DSN()), func(ctx context.Context, p json.RawMessage) error {
		if string(p) == `"under way"` && first {
			first = false
			close(begun)
			<-ctx.Done() // the server that it came from is gone
			return ctx.Err()
		}
		return d.do(ctx, p)
	})
	if err := q.Add(t.Context(), "greet", "before"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "a job is done", func() bool { return d.count("before") == 1 })
	if err := q.Add(t.Context(), "greet", "under way"); err != nil {
		t.Fatal(err)
	}
	<-begun
	pgtest.Eventually(t, "the replica knows that the job is under way", func() bool {
		return replica.One("SELECT count(*) FROM river_job WHERE state = 'running'") == "1"
	})
	primary.Kill()
	replica.Promote()
	if err := q.Add(t.Context(), "greet", "after"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "a job is done on the promoted server", func() bool { return d.count("after") > 0 })
	pgtest.Eventually(t, "the job that was under way is done there", func() bool { return d.count("under way") > 0 })
}

// Processes that share a database take only what they can do: covetd and the shop behind it, an old release and a new one.
func TestProcessesOfOneDatabase(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	queue := func(kind string, h Handler) *Queue {
		q, err := New(database(t, cluster.DSN()), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		q.Handle(kind, h)
		q.Handle("tick", func(context.Context, json.RawMessage) error { return nil })
		q.Every(time.Second, "tick")
		if err := q.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := q.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return q
	}
	var mails, orders done
	notices, shop := queue("covet.mail", mails.do), queue("shop.confirm", orders.do)
	for _, name := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
		if err := errors.Join(notices.Add(t.Context(), "covet.mail", name), shop.Add(t.Context(), "shop.confirm", name)); err != nil {
			t.Fatal(err)
		}
	}
	pgtest.Eventually(t, "all jobs are done", func() bool {
		return cluster.One("SELECT count(*) FROM river_job WHERE state <> 'completed' AND args->>'name' <> 'tick'") == "0"
	})
	if n := cluster.One("SELECT count(*) FROM river_job WHERE attempt > 1"); n != "0" || mails.count("t") != 1 || orders.count("t") != 1 {
		t.Errorf("%s jobs were tried by a process that cannot do them", n)
	}
	const ticks = `SELECT count(*) FROM river_job WHERE args->>'name' = 'tick' AND state = 'completed'`
	pgtest.Eventually(t, "the periodic job was done twice", func() bool { return cluster.One(ticks) >= "2" })
	if n := cluster.One(`SELECT count(*) - count(DISTINCT date_trunc('second', scheduled_at)) FROM river_job WHERE args->>'name' = 'tick'`); n != "0" {
		t.Errorf("%s periodic jobs too many", n)
	}
}

func TestUrgentJobsDoNotWaitForTheDatabase(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	db := database(t, cluster.DSN())
	var d done
	q := started(t, db, d.do)
	if err := q.AddUrgent(t.Context(), "greet", "kept"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "it is done", func() bool { return d.count("kept") == 1 })
	if n := cluster.One("SELECT count(*) FROM river_job WHERE args->>'payload' = 'kept'"); n != "1" {
		t.Errorf("the database has %s of it", n)
	}
	thaw := cluster.Freeze() // it seems to be there
	if err := q.AddUrgent(t.Context(), "greet", "frozen"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "it is done although the database hangs", func() bool { return d.count("frozen") == 1 })
	thaw()
	cluster.Kill()
	pgtest.Eventually(t, "the database is known to be away", func() bool { return db.CheckPrimary(t.Context()) != nil && !db.Writable() })
	if err := q.AddUrgent(t.Context(), "greet", "away"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "it is done although the database is away", func() bool { return d.count("away") == 1 })
}

func TestAKindThatIsNoNameIsRefused(t *testing.T) {
	q, err := New(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	q.Handle("Shop: confirm", nil)
	if err := q.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "Shop: confirm") {
		t.Errorf("%v", err)
	}
}

func TestJobsInMemoryAreFinishedAtTheEnd(t *testing.T) {
	var d done
	gate := make(chan struct{})
	q, err := New(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	q.Handle("greet", func(ctx context.Context, p json.RawMessage) error { <-gate; return d.do(ctx, p) })
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		if err := q.Add(t.Context(), "greet", name); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(50*time.Millisecond, func() { close(gate) })
	if err := q.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.count("ann") != 1 || d.count("bob") != 1 {
		t.Errorf("done: %v", d.seen)
	}
	if err := q.Add(t.Context(), "greet", "late"); !errors.Is(err, ErrStopped) {
		t.Errorf("a job that comes too late: %v", err)
	}
}

func TestPeriodicJobs(t *testing.T) {
	var n atomic.Int64
	q, err := New(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	q.Handle("tick", func(context.Context, json.RawMessage) error { n.Add(1); return nil })
	q.Every(10*time.Millisecond, "tick")
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "it was done three times", func() bool { return n.Load() >= 3 })
	if err := q.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
