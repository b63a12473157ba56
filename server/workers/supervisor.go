package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Traffic is told which instances may get requests. Calls about one instance come one after the other; calls about different
// ones may come at the same time.
type Traffic interface {
	// Join says that an instance is ready at an address. It may join again after Suspend, with another address.
	Join(id, release, addr string)
	// Suspend says that it is not ready now: no new requests. It may be dead.
	Suspend(id string)
	// Leave takes an instance out for good, and returns when its requests in flight have ended or ctx has, with ctx's error.
	Leave(ctx context.Context, id string) error
}

// Options are what a Supervisor needs; zero values of all but Traffic and StateDir mean their defaults.
type Options struct {
	Traffic  Traffic
	StateDir string // for logs/ and the lock of the ports; its path also names this covetd's workers

	PortMin, PortMax int               // for workers; default 20000–29999, outside the kernel's ephemeral range
	Env              map[string]string // given to all workers, under their release's own
	Guard            []string          // argv of the guardian, argv[0] a file; default this program with the argument "guard"
	Backoff          Backoff
	UnreadyRestart   time.Duration // an instance that was ready and has not been for so long is restarted; default 60 s
	LogFileBytes     int64         // a release's log is rotated at this size; default 100 MB
	LogTotalBytes    int64         // all logs together; default 1 GB
	Logger           *slog.Logger
}

// Errors that callers of a Supervisor decide on.
var (
	ErrSpecChanged = errors.New("the release runs with another specification")
	ErrClosed      = errors.New("the supervisor is closed")
)

// Supervisor runs the instances of releases. All methods may be called at any time from anywhere.
type Supervisor struct {
	o     Options
	owner owner
	ports *ports
	spawn *spawner
	clean *cleaner
	guard *guard
	logs  *library
	sums  digests
	usage usage
	watch *watchers

	mu     sync.Mutex
	groups map[string]*group
	born   uint64
	closed bool

	deadline time.Time // of Close, zero for none; set before closing is closed

	running sync.WaitGroup // workers
	now     chan struct{}  // closed when there is no time left to drain
	closing chan struct{}  // closed when Close has begun
	ended   chan struct{}  // closed when Close is done
}

// group is one release's instances.
type group struct {
	spec    Spec
	workers []*worker // in the order they were made; retired ones stay until they have ended
}

// New returns a Supervisor that runs nothing yet. It makes the process a child subreaper and starts a guardian process; it
// first kills what an earlier covetd over the same state folder left, if that one is dead. One process must not have two
// open supervisors over one state folder.
func New(o Options) (*Supervisor, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkKernel(); err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("becoming the reaper of workers' orphans: %w", err)
	}
	logDir := filepath.Join(o.StateDir, logFolder)
	if err := os.MkdirAll(logDir, 0o750); err != nil {
		return nil, fmt.Errorf("making the folder of the releases' logs: %w", err)
	}
	me, err := thisOwner(o.StateDir)
	if err != nil {
		return nil, err
	}
	if n, err := sweep(me); err != nil {
		return nil, fmt.Errorf("ending what an earlier covetd left running: %w", err)
	} else if n > 0 {
		o.Logger.Warn("killed what an earlier covetd left running", "processes", n)
	}
	p, err := openPorts(o.StateDir, o.PortMin, o.PortMax)
	if err != nil {
		return nil, err
	}
	g, err := startGuard(o.Guard, me, o.Logger)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	f := newFamily()
	return &Supervisor{
		o: o, owner: me, ports: p, guard: g,
		spawn: startSpawner(f), clean: startCleaner(me, f, o.Logger),
		logs:  openLibrary(logDir, fileLimits{file: o.LogFileBytes, total: o.LogTotalBytes, rate: floodBytes}, o.Logger),
		watch: newWatchers(), groups: map[string]*group{},
		now: make(chan struct{}), closing: make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

func (o Options) withDefaults() (Options, error) {
	if o.Traffic == nil || o.StateDir == "" {
		return o, errors.New("supervising workers needs a Traffic and a StateDir")
	}
	orDefault(&o.PortMin, 20000)
	orDefault(&o.PortMax, max(o.PortMin, 29999))
	orDefault(&o.UnreadyRestart, time.Minute)
	orDefault(&o.LogFileBytes, 100<<20)
	orDefault(&o.LogTotalBytes, 10*o.LogFileBytes)
	o.Backoff = o.Backoff.withDefaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Ensure makes n the number of wanted instances of a release. It returns at once; starting, draining and stopping go on in the
// background. Instances that serve nobody are stopped first, then the newest. A spec that differs from the one that the
// release runs with is refused with ErrSpecChanged, unless n is 0, which asks for nothing but to stop.
func (s *Supervisor) Ensure(ctx context.Context, spec Spec, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n == 0 {
		s.retireRelease(spec.Release)
		return nil
	}
	spec, err := spec.normalize()
	if err != nil {
		return err
	}
	if n < 0 || n > maxInstances/2 {
		return fmt.Errorf("release %q: %d instances: not a number between 0 and %d", spec.Release, n, maxInstances/2)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	g := s.groups[spec.Release]
	if g == nil {
		g = &group{spec: spec}
		s.groups[spec.Release] = g
		s.logs.open(spec.Release)
	}
	if !g.spec.equal(spec) {
		return fmt.Errorf("release %q: %w: a release never changes; add what is different as a new one", spec.Release, ErrSpecChanged)
	}
	active := g.candidates()
	for _, i := range surplus(active, n) {
		g.workers[i].retire()
	}
	for range n - len(active) {
		s.launch(g)
	}
	return nil
}

// retireRelease lets all instances of a release drain and stop.
func (s *Supervisor) retireRelease(release string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[release]; g != nil {
		for _, w := range g.workers {
			w.retire()
		}
	}
}

func (g *group) candidates() []candidate {
	var all []candidate
	for i, w := range g.workers {
		if !w.isRetired() {
			all = append(all, candidate{index: i, state: w.state(), born: w.born})
		}
	}
	return all
}

// launch makes one more instance, under the lowest number that is free, so that names do not grow without end.
func (s *Supervisor) launch(g *group) {
	number := 1
	for slices.ContainsFunc(g.workers, func(w *worker) bool { return w.number == number }) {
		number++
	}
	s.born++
	w := newWorker(s, g.spec, number, s.born)
	g.workers = append(g.workers, w)
	s.running.Go(w.run)
}

// gone forgets a worker that has ended.
func (s *Supervisor) gone(w *worker) {
	s.mu.Lock()
	g := s.groups[w.spec.Release]
	g.workers = slices.DeleteFunc(g.workers, func(o *worker) bool { return o == w })
	if len(g.workers) == 0 {
		delete(s.groups, w.spec.Release)
		s.logs.end(w.spec.Release)
	}
	s.mu.Unlock()
	s.watch.wake()
}

// Instances is what runs now, by release and then oldest first. Instances that were stopped for good are not in it.
func (s *Supervisor) Instances() []Instance {
	s.mu.Lock()
	var list []*worker
	for _, g := range s.groups {
		list = append(list, g.workers...)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *worker) int {
		return cmp.Or(cmp.Compare(a.spec.Release, b.spec.Release), cmp.Compare(a.born, b.born))
	})
	used := s.usage.bySession(time.Now())
	out := make([]Instance, len(list))
	for i, w := range list {
		out[i] = w.snapshot()
		if out[i].PID != 0 {
			out[i].RSS, out[i].CPU = used[out[i].PID].rss, used[out[i].PID].cpu
		}
	}
	return out
}

// Watch returns a channel that gets a value after any instance has changed, until ctx ends. Changes that come before it is
// read are one. It is never closed.
func (s *Supervisor) Watch(ctx context.Context) <-chan struct{} { return s.watch.watch(ctx) }

// Logs yields the lines that match, oldest first: the last ones that are known (about 1 MB for each release), and with follow
// those that come, until ctx ends. A reader that stopped at a line goes on after its Seq. Of releases that have not run for
// long only a filter that names one finds lines.
func (s *Supervisor) Logs(ctx context.Context, f LogFilter, follow bool) iter.Seq2[LogLine, error] {
	return s.logs.read(ctx, f, follow)
}

// LogLoss says how many lines are missing in the log files, and why.
func (s *Supervisor) LogLoss() LogLoss { return s.logs.lost() }

// killLimit is how long Close waits for processes after their SIGKILL.
const killLimit = 5 * time.Second

// Close drains and stops all instances, all at the same time; they are told to end early enough for ctx's deadline. What still runs when ctx ends is killed; the error then says how
// much that was. When it returns nothing is left of any worker, and the guardian is gone.
func (s *Supervisor) Close(ctx context.Context) error {
	if !s.retireAll(ctx) {
		<-s.ended
		return nil
	}
	defer close(s.ended)
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	err := s.await(ctx, done)
	if err != nil && !isDone(done) {
		return err // a process that SIGKILL does not end still needs its thread and its guardian
	}
	s.spawn.close()
	s.clean.close()
	s.logs.close()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
	defer cancel()
	return errors.Join(err, s.guard.close(late), s.ports.close())
}

func (s *Supervisor) await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	cut := len(s.Instances())
	close(s.now)
	err := fmt.Errorf("stopping the workers: %d had to be killed: %w", cut, ctx.Err())
	select {
	case <-done:
		return err
	case <-time.After(killLimit):
		return errors.Join(err, errors.New("some are still there after SIGKILL; the kernel holds them (look for state D in ps)"))
	}
}

// retireAll returns false if that was done before.
func (s *Supervisor) retireAll(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	s.deadline, _ = ctx.Deadline()
	close(s.closing)
	for _, g := range s.groups {
		for _, w := range g.workers {
			w.retire()
		}
	}
	return true
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
