package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	workersEach = 8               // jobs that one process does at a time
	softStop    = 5 * time.Second // how long jobs under way may take once the queue stops
	hardStop    = time.Second     // how long a client may take to end once it is told to drop everything
	measure     = 5 * time.Second // between two looks at the depth
	retryMake   = 2 * time.Second // between two attempts to begin
)

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
	client, err := q.client(pool)
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(q.life)); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	select {
	case <-q.ready:
	default:
		close(q.ready)
	}
	q.attend(pool)
	return q.letGo(client)
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

func (q *Queue) client(pool *pgxpool.Pool) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{queue: q})
	var periodic []*river.PeriodicJob
	for _, p := range q.periods {
		periodic = append(periodic, river.NewPeriodicJob(river.PeriodicInterval(p.every),
			func() (river.JobArgs, *river.InsertOpts) { return task{Name: p.kind}, nil }, nil))
	}
	return river.NewClient(riverpgxv5.New(pool), &river.Config{
		Workers: workers, PeriodicJobs: periodic, Logger: slog.New(levelled{q.log.Handler()}),
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workersEach}},
	})
}

// levelled lets only the library's warnings and errors into the log.
type levelled struct{ slog.Handler }

func (l levelled) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && l.Handler.Enabled(ctx, level)
}
