package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	maxInMemory  = 10_000
	attempts     = 16              // over about 40 minutes
	firstBackoff = time.Second     // doubled after each failure
	maxBackoff   = 5 * time.Minute // and no more than this
)

// errFull is returned where no more jobs fit in memory.
var errFull = fmt.Errorf("%d jobs wait already, which is all that fit in memory; DATABASE_URL lets them wait in the database", maxInMemory)

// memory does jobs in this process. What is not done when it ends is lost, and the log says so.
type memory struct {
	queue   *Queue
	tasks   chan attempt
	work    context.Context
	cancel  context.CancelFunc
	stopped chan struct{}
	running sync.WaitGroup
	mu      sync.RWMutex // held to add, and to close stopped
	once    sync.Once

	depthMu sync.Mutex
	depth   map[string]int // by state
}

// attempt is a job with the number of times that it has failed.
type attempt struct {
	task
	failed int
}

func newMemory(q *Queue) *memory {
	m := &memory{queue: q, tasks: make(chan attempt, maxInMemory), stopped: make(chan struct{}), depth: map[string]int{}}
	m.work, m.cancel = context.WithCancel(context.Background())
	return m
}

func (m *memory) add(t task) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	select {
	case <-m.stopped:
		return ErrStopped
	default:
	}
	return m.put(attempt{task: t})
}

func (m *memory) put(a attempt) error {
	select {
	case m.tasks <- a:
		m.note("available", 1)
		return nil
	default:
		return errFull
	}
}

func (m *memory) note(state string, by int) {
	m.depthMu.Lock()
	m.depth[state] += by
	m.depthMu.Unlock()
}

// addDepth adds how many jobs there are to a count by state.
func (m *memory) addDepth(to map[string]int) {
	m.depthMu.Lock()
	defer m.depthMu.Unlock()
	for state, n := range m.depth {
		to[state] += n
	}
}

func (m *memory) start() {
	for range workersEach {
		m.running.Go(m.loop)
	}
	if m.queue.db != nil {
		return // what is periodic is in the database
	}
	for _, p := range m.queue.periods {
		m.running.Go(func() { m.repeat(p) })
	}
}

// loop does jobs until it is told to stop and none waits.
func (m *memory) loop() {
	for {
		select {
		case a := <-m.tasks:
			m.do(a)
			continue
		default:
		}
		select {
		case a := <-m.tasks:
			m.do(a)
		case <-m.stopped:
			return
		}
	}
}

func (m *memory) do(a attempt) {
	m.note("available", -1)
	m.note("running", 1)
	err := m.queue.do(m.work, a.task)
	m.note("running", -1)
	if err == nil {
		return
	}
	a.failed++
	log := m.queue.log.With("kind", a.Name, "attempt", a.failed, "of", attempts)
	log.Warn("a job failed", "error", err)
	if a.failed >= attempts {
		log.Error("a job is given up")
		return
	}
	m.running.Go(func() { m.again(a) })
}

// again puts a job back after a while. One that would be late for the end is tried at once, for the last time.
func (m *memory) again(a attempt) {
	m.note("retryable", 1)
	defer m.note("retryable", -1)
	wait := time.NewTimer(min(firstBackoff<<(a.failed-1), maxBackoff))
	defer wait.Stop()
	select {
	case <-wait.C:
		if err := m.put(a); err != nil {
			m.queue.log.Error("a job is lost", "kind", a.Name, "error", err)
		}
	case <-m.stopped:
		if err := m.queue.do(m.work, a.task); err != nil {
			m.queue.log.Error("a job is lost: the process ends, and no database keeps it", "kind", a.Name, "error", err)
		}
	}
}

func (m *memory) repeat(p period) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := m.add(task{Name: p.kind}); err != nil && !errors.Is(err, ErrStopped) {
				m.queue.log.Warn("a periodic job was left out", "kind", p.kind, "error", err)
			}
		case <-m.stopped:
			return
		}
	}
}

func (m *memory) stop(ctx context.Context) error {
	m.mu.Lock()
	m.once.Do(func() { close(m.stopped) })
	m.mu.Unlock()
	done := make(chan struct{})
	go func() { m.running.Wait(); close(done) }()
	select {
	case <-done:
		m.cancel()
		return nil
	case <-ctx.Done():
		m.cancel()
		return fmt.Errorf("jobs were still under way: %w", ctx.Err())
	}
}
