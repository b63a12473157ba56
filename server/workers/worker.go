package workers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	lastLogLines = 10
	drainOutput  = 2 * time.Second
)

// worker is one instance: a goroutine that keeps a process running until it is retired.
type worker struct {
	s      *Supervisor
	spec   Spec
	number int
	born   uint64
	id     string
	retirement
	joined bool // the Traffic knows it; only run's goroutine uses it

	mu   sync.Mutex
	seen Instance
}

// retirement says that an instance is no longer wanted.
type retirement struct {
	once sync.Once
	c    chan struct{}
}

func (r *retirement) retire()         { r.once.Do(func() { close(r.c) }) }
func (r *retirement) isRetired() bool { return isDone(r.c) }

func newWorker(s *Supervisor, spec Spec, number int, born uint64) *worker {
	w := &worker{
		s: s, spec: spec, number: number, born: born, id: spec.Release + "-" + strconv.Itoa(number),
		retirement: retirement{c: make(chan struct{})},
	}
	w.seen = Instance{ID: w.id, Release: spec.Release, State: StateStarting, Since: time.Now()}
	return w
}

func (w *worker) snapshot() Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.seen
	i.LastLog = append([]string(nil), i.LastLog...)
	return i
}

func (w *worker) state() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.State
}

// update changes what is seen of the instance, and tells those who watch.
func (w *worker) update(change func(*Instance)) {
	w.mu.Lock()
	before := w.seen.State
	change(&w.seen)
	if w.seen.State != before {
		w.seen.Since = time.Now()
	}
	w.mu.Unlock()
	w.s.watch.wake()
}

func (w *worker) enter(s State) { w.update(func(i *Instance) { i.State = s }) }

// note writes a line about the instance into its release's log.
func (w *worker) note(format string, args ...any) {
	w.s.logs.add(w.spec.Release, w.id, streamCovetd, fmt.Sprintf(format, args...))
}

// run is the instance's whole life.
func (w *worker) run() {
	defer w.s.gone(w)
	deaths := 0
	for !w.isRetired() {
		ready := w.live()
		if w.isRetired() {
			break
		}
		deaths = w.s.o.Backoff.next(deaths, ready)
		if w.pause(w.s.o.Backoff.delay(deaths, rand.Float64())) {
			w.update(func(i *Instance) { i.State, i.Restarts = StateStarting, i.Restarts+1 })
		}
	}
	if w.joined {
		w.leave(nil, w.spec.DrainTimeout) // its last process is dead; requests to it may not have noticed yet
	}
}

// pause waits before the next start; it returns false when there is to be none.
func (w *worker) pause(d time.Duration) bool {
	w.update(func(i *Instance) {
		i.State = StateBackoff
		if i.StartFailures >= failedAfter {
			i.State = StateFailed
		}
	})
	w.note("next start in %s", d.Round(time.Millisecond))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.c:
		return false
	}
}

// live runs one process from start to end, and returns how long it had been ready at last.
func (w *worker) live() time.Duration {
	port, err := w.s.ports.take()
	if err != nil {
		w.stillborn(err)
		return 0
	}
	defer func() {
		if err := w.s.ports.release(port); err != nil {
			w.s.o.Logger.Error("a worker's port stays taken", "port", port, "error", err)
		}
	}()
	p, err := w.start(port)
	if err != nil {
		w.stillborn(err)
		return 0
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	t := newTally(w.spec.Probe, w.s.o.UnreadyRestart, p.began)
	cause, ready := w.attend(p, addr, t)
	force := w.stop(p)
	w.bury(p, t, cause, force)
	return ready
}

// start makes a process out of the spec.
func (w *worker) start(port int) (*process, error) {
	env := environment(os.Environ(), w.s.o.Env, w.spec.Env, ownVariables(w.s.owner, w.spec.Release, w.id, port))
	path, err := resolve(w.spec.Command[0], w.spec.Dir, lookup(env, "PATH"))
	if err != nil {
		return nil, err
	}
	if err := w.s.sums.verify(path, w.spec.Digest); err != nil {
		return nil, err
	}
	p, err := w.s.spawn.start(launch{path: path, argv: w.spec.Command, dir: w.spec.Dir, env: env, mark: w.mark()})
	if err != nil {
		return nil, err
	}
	w.s.guard.add(p.pid, p.start)
	p.out.pump(w.takeLine)
	if p.markError != nil && !isDone(p.exited) {
		w.s.o.Logger.Warn("a worker's descendants are told by session and environment only", "instance", w.id, "error", p.markError)
	}
	w.update(func(i *Instance) {
		i.State, i.PID, i.Port, i.StartedAt, i.ProbeError = StateStarting, p.pid, port, p.began, ""
	})
	w.note("started process %d on port %d", p.pid, port)
	return p, nil
}

func (w *worker) mark() mark { return w.s.owner.mark(uint32(w.born % maxInstances)) }

// takeLine must not block: the worker would.
func (w *worker) takeLine(stream, text string) {
	w.s.logs.add(w.spec.Release, w.id, stream, text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen.LastLog) == lastLogLines {
		copy(w.seen.LastLog, w.seen.LastLog[1:])
		w.seen.LastLog = w.seen.LastLog[:lastLogLines-1]
	}
	w.seen.LastLog = append(w.seen.LastLog, text)
}

// attend watches a running process until it ends or must be ended, and returns why, and how long it had been ready at last.
// An empty cause: it ended by itself, or is no longer wanted.
func (w *worker) attend(p *process, addr string, t *tally) (cause string, ready time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results := make(chan error)
	isReady := make(chan bool, 1)
	go w.probe(ctx, addr, results, isReady)
	limit := time.NewTimer(w.spec.Probe.StartTimeout)
	defer limit.Stop()
	for {
		select {
		case <-p.exited:
			if t.state == StateReady {
				w.s.o.Traffic.Suspend(w.id)
				ready = time.Since(t.since)
			}
			return "", ready
		case <-w.c:
			return "", 0
		case err := <-results:
			if !isDone(p.exited) {
				w.react(t.observe(err, time.Now()), addr, err)
			}
			isReady <- t.state == StateReady
			if left, limited := t.left(time.Now()); limited {
				limit.Reset(left)
			} else {
				limit.Stop()
			}
		case <-limit.C:
			return t.overdue(addr), 0
		}
	}
}

// probe asks again and again, and reports each result; then it hears whether the instance counts as ready.
func (w *worker) probe(ctx context.Context, addr string, results chan<- error, isReady <-chan bool) {
	ready := false
	for done := 0; ; done++ {
		t := time.NewTimer(pace(w.spec.Probe, ready, done))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		err := probe(ctx, addr, w.spec.Probe)
		select {
		case <-ctx.Done():
			return
		case results <- err:
		}
		select {
		case <-ctx.Done():
			return
		case ready = <-isReady:
		}
	}
}

// react does what a probe's result asks for.
func (w *worker) react(c change, addr string, probeError error) {
	text := ""
	if probeError != nil {
		text = probeError.Error()
	}
	switch c {
	case becameReady:
		w.joined = true
		w.s.o.Traffic.Join(w.id, w.spec.Release, addr)
		w.note("ready")
		w.update(func(i *Instance) { i.State, i.StartFailures, i.ProbeError = StateReady, 0, "" })
		return
	case becameUnready:
		w.s.o.Traffic.Suspend(w.id)
		w.note("not ready any more: %s", text)
		w.update(func(i *Instance) { i.State, i.ProbeError = StateUnready, text })
		return
	}
	w.mu.Lock()
	same := w.seen.ProbeError == text
	w.mu.Unlock()
	if !same {
		w.update(func(i *Instance) { i.ProbeError = text })
	}
}
