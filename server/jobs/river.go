package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	workersEach = 8               // jobs of one kind that one process does at a time
	softStop    = 5 * time.Second // how long jobs under way may take once the queue stops
	hardStop    = time.Second     // how long a client may take to end once it is told to drop everything
	measure     = 5 * time.Second // between two looks at the depth
	retryMake   = 2 * time.Second // between two attempts to begin

	fetchEvery = 20 * time.Millisecond // the shortest time between two looks for jobs
	jobTimeout = time.Minute           // the longest that a job may take
	// rescueAfter is when a job is done again whose process died. One that may still run must not be.
	rescueAfter = 2 * jobTimeout
)

// queueName is what River takes as the name of a queue.
var queueName = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)

// queueOf is the queue for jobs of a kind. Each has its own, so that a process only takes jobs that it can do: covetd and
// the application behind it may share a database, and so may two releases.
func queueOf(kind string) string { return strings.ReplaceAll(kind, ".", "_") }

func insertDriver() *riverpgxv5.Driver { return riverpgxv5.New(nil) }

// worker does all of our jobs.
type worker struct {
	river.WorkerDefaults[task]
	queue *Queue
}

// Work does one.
func (w *worker) Work(ctx context.Context, job *river.Job[task]) error {
	err := w.queue.do(ctx, job.Args)
	if err != nil {
		w.queue.log.Warn("a job failed", "kind", job.Args.Name, "attempt", job.Attempt, "of", job.MaxAttempts, "error", err)
	}
	return err
}

// follow does jobs on whichever server is the primary, until the queue stops.
func (q *Queue) follow() {
	for q.life.Err() == nil {
		pool, changed := q.db.PrimaryPool()
		if pool == nil {
			q.pause(changed)
			continue
		}
		if err := q.workOn(pool); err != nil && q.life.Err() == nil {
			q.log.Warn("jobs cannot be done at present", "error", err)
			wait := make(chan struct{})
			time.AfterFunc(retryMake, func() { close(wait) })
			q.pause(wait)
		}
	}
}

// pause waits for a channel, or for the end.
func (q *Queue) pause(until <-chan struct{}) {
	select {
	case <-until:
	case <-q.life.Done():
	}
}

// workOn does jobs in a pool's database until it is no longer the primary's, or the queue stops.
func (q *Queue) workOn(pool *pgxpool.Pool) error {
	if err := migrate(q.life, pool); err != nil {
		return err
	}
	quiet := &atomic.Bool{}
	client, err := q.client(pool, quiet)
	if err != nil {
		return err
	}
	if err := q.takeBack(pool); err != nil {
		return err
	}
	q.begun = append(q.begun, client.ID())
	if err := client.Start(context.WithoutCancel(q.life)); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	select {
	case <-q.ready:
	default:
		close(q.ready)
	}
	q.attend(pool)
	quiet.Store(q.life.Err() == nil) // what it says from now on is that its pool is closed
	return q.letGo(client)
}

// takeBack lets the jobs be done again that this process had begun by way of another server, which could not be told how
// they ended.
func (q *Queue) takeBack(pool *pgxpool.Pool) error {
	if len(q.begun) == 0 {
		return nil
	}
	_, err := pool.Exec(q.life, `UPDATE river_job SET state = 'available', scheduled_at = now()
		WHERE state = 'running' AND attempted_by[array_length(attempted_by, 1)] = ANY ($1)`, q.begun)
	if err != nil {
		return fmt.Errorf("take back jobs that were under way: %w", err)
	}
	return nil
}

// repeat adds a periodic job at each interval. All processes do, and the database takes one of them.
func (q *Queue) repeat(p period) {
	once := &river.InsertOpts{Queue: queueOf(p.kind), UniqueOpts: river.UniqueOpts{ByArgs: true, ByQueue: true, ByPeriod: p.every}}
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-q.life.Done():
			return
		}
		err := q.db.Write(q.life, func(ctx context.Context, tx pgx.Tx) error {
			_, err := q.inserts.InsertTx(ctx, tx, task{Name: p.kind}, once)
			return err
		})
		if err != nil && q.life.Err() == nil {
			q.log.Warn("a periodic job was left out", "kind", p.kind, "error", err)
		}
	}
}

// letGo stops a client. At the end jobs under way may finish; with the primary gone there is nowhere to say that they
// did, and the next one does them again.
func (q *Queue) letGo(client *river.Client[pgx.Tx]) error {
	wait, stop := hardStop, client.StopAndCancel
	if q.life.Err() != nil {
		wait, stop = softStop, client.Stop
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err := stop(ctx)
	if err == nil || q.life.Err() == nil {
		return nil // what is left of it has no connection any more
	}
	hard, cancel := context.WithTimeout(context.Background(), hardStop)
	defer cancel()
	return errors.Join(err, client.StopAndCancel(hard))
}

// attend measures the depth, and returns when the pool is to be let go.
func (q *Queue) attend(pool *pgxpool.Pool) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		now, changed := q.db.PrimaryPool()
		if now != pool {
			return
		}
		select {
		case <-q.life.Done():
			return
		case <-changed:
		case <-next.C:
			q.count(pool)
			next.Reset(measure)
		}
	}
}

const countJobs = `SELECT state::text, count(*) FROM river_job WHERE state IN ('available', 'scheduled', 'retryable', 'running') GROUP BY 1`

// count takes the depth. Where it cannot, the last one stands, and the health checks say why.
func (q *Queue) count(pool *pgxpool.Pool) {
	ctx, cancel := context.WithTimeout(q.life, measure)
	defer cancel()
	rows, err := pool.Query(ctx, countJobs)
	if err != nil {
		q.db.Doubt()
		return
	}
	found := map[string]int{"available": 0, "scheduled": 0, "retryable": 0, "running": 0}
	var state string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error { found[state] = n; return nil }); err != nil {
		return
	}
	q.mu.Lock()
	q.depth = found
	q.mu.Unlock()
}

// migrateLock is the advisory lock under which the tables are made: the first 8 bytes of sha256("covet jobs").
const migrateLock = 0x5f3ad24c91e07b66

// migrate makes River's tables, in one process at a time.
func migrate(ctx context.Context, pool *pgxpool.Pool) (err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("make the job queue's tables: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		return fmt.Errorf("make the job queue's tables: %w", err)
	}
	defer func() {
		_, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrateLock))
		err = errors.Join(err, unlock)
	}()
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("make the job queue's tables: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("make the job queue's tables (river_job, …): %w", err)
	}
	return nil
}

func (q *Queue) client(pool *pgxpool.Pool, quiet *atomic.Bool) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{queue: q})
	queues := map[string]river.QueueConfig{}
	for kind := range q.handlers {
		queues[queueOf(kind)] = river.QueueConfig{MaxWorkers: workersEach}
	}
	return river.NewClient(riverpgxv5.New(pool), &river.Config{
		Workers: workers, Queues: queues, Logger: slog.New(levelled{q.log.Handler(), quiet}),
		FetchCooldown: fetchEvery, JobTimeout: jobTimeout, RescueStuckJobsAfter: rescueAfter,
	})
}

// levelled lets only the library's warnings and errors into the log, until it is quiet.
type levelled struct {
	slog.Handler
	quiet *atomic.Bool
}

func (l levelled) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && !l.quiet.Load() && l.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the levels.
func (l levelled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelled{l.Handler.WithAttrs(attrs), l.quiet}
}

// WithGroup keeps the levels.
func (l levelled) WithGroup(name string) slog.Handler {
	return levelled{l.Handler.WithGroup(name), l.quiet}
}
