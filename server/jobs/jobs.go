// Package jobs does work after the answer: in PostgreSQL (River), where it outlives the process and every process of the
// service takes part, or without a database in this process alone.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/covetpy/covet/server/pg"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Handler does one job. It may be run again after it failed, and, rarely, after it did not: after a crash.
type Handler func(ctx context.Context, payload json.RawMessage) error

// ErrStopped is returned for jobs that come after the queue was told to stop, where they would be lost.
var ErrStopped = errors.New("the job queue has stopped")

// Queue takes jobs and does them. Handlers are added before it starts; its methods are safe for concurrent use then.
type Queue struct {
	db       *pg.DB // nil: jobs are kept in this process
	log      *slog.Logger
	handlers map[string]Handler
	periods  []period

	inserts *river.Client[pgx.Tx] // adds jobs in transactions of others
	begun   []string              // the clients by which this process has done jobs until now
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	depth  map[string]int // in the database, by state
	ready  chan struct{}  // closed once the tables are there
	memory *memory        // for all jobs where there is no database, and for urgent ones while it is away
}

// period is a job that is done again and again.
type period struct {
	kind  string
	every time.Duration
}

// New makes a queue. db may be nil.
func New(db *pg.DB, log *slog.Logger) (*Queue, error) {
	q := &Queue{db: db, log: log, handlers: map[string]Handler{}, depth: map[string]int{}, ready: make(chan struct{})}
	q.life, q.end = context.WithCancel(context.Background())
	q.memory = newMemory(q)
	if db == nil {
		return q, nil
	}
	var err error
	q.inserts, err = river.NewClient(insertDriver(), &river.Config{})
	if err != nil {
		return nil, fmt.Errorf("make the job queue: %w", err)
	}
	return q, nil
}

// Handle says what does jobs of a kind: words of lower-case letters and digits, with dots between them. Processes that
// share a database need not do the same kinds.
func (q *Queue) Handle(kind string, h Handler) { q.handlers[kind] = h }

// Every has a job of a kind, without payload, done once in each interval, by one process of those that do it.
func (q *Queue) Every(every time.Duration, kind string) {
	q.periods = append(q.periods, period{kind, every})
}

// Add takes a job. It is durable when Add returns, where there is a database.
func (q *Queue) Add(ctx context.Context, kind string, payload any) error {
	if q.db == nil {
		t, err := q.task(kind, payload)
		if err != nil {
			return err
		}
		return q.memory.add(t)
	}
	return q.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error { return q.AddTx(ctx, tx, kind, payload) })
}

// urgently is how long the database may take for a job that cannot wait.
const urgently = 2 * time.Second

// AddUrgent takes a job that must be done even while the database is away: such as telling people that it is. What the
// database does not take soon is kept in this process. It may be done twice where nobody knows whether it was taken.
func (q *Queue) AddUrgent(ctx context.Context, kind string, payload any) error {
	t, err := q.task(kind, payload)
	if err != nil {
		return err
	}
	if q.db != nil && q.db.Writable() {
		soon, cancel := context.WithTimeout(ctx, urgently)
		defer cancel()
		if err = q.Add(soon, kind, payload); err == nil {
			return nil
		}
		q.log.Warn("the database does not take a job; it is done from memory", "kind", kind, "error", err)
	}
	return q.memory.add(t)
}

// AddTx takes a job if the transaction is committed, and not otherwise. Without a database it cannot be called.
func (q *Queue) AddTx(ctx context.Context, tx pgx.Tx, kind string, payload any) error {
	t, err := q.task(kind, payload)
	if err != nil {
		return err
	}
	select {
	case <-q.ready:
	default:
		if err := q.awaitReady(ctx); err != nil {
			return err
		}
	}
	if _, err := q.inserts.InsertTx(ctx, tx, t, &river.InsertOpts{Queue: queueOf(kind)}); err != nil {
		return fmt.Errorf("add a job %s: %w", kind, err)
	}
	return nil
}

// awaitReady waits a little for the tables, which are made when the database is first reached.
func (q *Queue) awaitReady(ctx context.Context) error {
	wait := time.NewTimer(5 * time.Second)
	defer wait.Stop()
	select {
	case <-q.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-q.life.Done():
		return ErrStopped
	case <-wait.C:
		return errors.New("the job queue's tables are not there yet: see the log")
	}
}

// task is a job as it is kept.
type task struct {
	Name    string          `json:"name"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// Kind is what River calls all of our jobs.
func (task) Kind() string { return "covet_task" }

func (q *Queue) task(kind string, payload any) (task, error) {
	if _, ok := q.handlers[kind]; !ok {
		return task{}, fmt.Errorf("nothing does jobs of the kind %q", kind)
	}
	text, err := json.Marshal(payload)
	if err != nil {
		return task{}, fmt.Errorf("add a job %s: %w", kind, err)
	}
	return task{kind, text}, nil
}

// do runs a job's handler.
func (q *Queue) do(ctx context.Context, t task) (err error) {
	h, ok := q.handlers[t.Name]
	if !ok {
		return fmt.Errorf("nothing here does jobs of the kind %q", t.Name)
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the handler of %s panicked: %v", t.Name, v)
		}
	}()
	return h(ctx, t.Payload)
}

// Depth is how many jobs there are, by state: available, scheduled, retryable, running.
func (q *Queue) Depth() map[string]int {
	q.mu.Lock()
	out := maps.Clone(q.depth)
	q.mu.Unlock()
	q.memory.addDepth(out)
	return out
}

// Start begins to do jobs.
func (q *Queue) Start(ctx context.Context) error {
	if len(q.handlers) == 0 {
		return nil
	}
	for kind := range q.handlers {
		if !queueName.MatchString(queueOf(kind)) {
			return fmt.Errorf("a kind of jobs cannot be called %q: take words of lower-case letters and digits, with dots between them", kind)
		}
	}
	q.memory.start()
	if q.db == nil {
		return nil
	}
	q.running.Go(q.follow)
	for _, p := range q.periods {
		q.running.Go(func() { q.repeat(p) })
	}
	if q.db.Writable() {
		// What is added during the start should find the tables.
		select {
		case <-q.ready:
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	return nil
}

// Stop lets jobs that are under way finish until ctx ends, and then ends them: in the database they are done again.
func (q *Queue) Stop(ctx context.Context) error {
	q.end()
	done := make(chan struct{})
	go func() { q.running.Wait(); close(done) }()
	err := q.memory.stop(ctx)
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("jobs were still under way: %w", ctx.Err()))
	}
}
