package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// Times of the feed.
const (
	wakeEvery = 250 * time.Millisecond // the screen is told of new data at most this often
	silence   = 10 * time.Second       // a stream without a word for so long is taken to be dead
	firstWait = 250 * time.Millisecond // before the second try to connect
	longWait  = 5 * time.Second        // between tries at the most
	askLimit  = 15 * time.Second       // for one question
)

// Feed reads a service's live stream, takes it up again when it breaks, and keeps the fold.
type Feed struct {
	port console.Port
	now  func() time.Time
	wake func()

	mu    sync.Mutex
	state *state
	last  *Snapshot
	focus string // the rollout whose timeline is wanted
	fresh bool   // a new connection: the past must be asked for

	recovery console.RecoveryView // nil: there is nobody to ask
	begun    map[Subject]bool

	news  chan struct{} // something changed
	ask   chan struct{} // lists are out of date
	retry chan struct{} // a person does not want to wait
	again chan struct{} // recovery is to be looked at now
}

// NewFeed makes a feed that calls wake, at most four times a second, when there is something new to see.
func NewFeed(port console.Port, now func() time.Time, wake func()) *Feed {
	return &Feed{
		port: port, now: now, wake: wake, state: newState(), begun: map[Subject]bool{},
		news: make(chan struct{}, 1), ask: make(chan struct{}, 1), retry: make(chan struct{}, 1), again: make(chan struct{}, 1),
	}
}

// Run reads until the context ends.
func (f *Feed) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { f.notify(ctx) })
	wg.Go(func() { f.refresh(ctx) })
	f.stream(ctx)
	wg.Wait()
}

// Snapshot is what is known now.
func (f *Feed) Snapshot() *Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil || f.last.Version != f.state.snap.Version {
		f.last = f.state.snapshot()
	}
	return f.last
}

// Retry connects at once instead of when the wait is over, and asks again for what is asked for only now and then.
func (f *Feed) Retry() {
	signal(f.retry)
	signal(f.again)
}

// Subject is something that is kept only from when somebody first looks at it: until then nothing of it is watched.
type Subject int

// The subjects.
const (
	Cluster  Subject = iota // what the cluster says of the service
	Recovery                // how recoverable its database is
)

// Look begins to keep a subject, until the context ends.
func (f *Feed) Look(ctx context.Context, s Subject) {
	f.mu.Lock()
	begun := f.begun[s]
	f.begun[s] = true
	f.mu.Unlock()
	switch {
	case begun:
	case s == Cluster:
		f.lookAtCluster(ctx)
	case s == Recovery:
		f.lookAtRecovery(ctx)
	}
}

// Focus asks for the timeline of a rollout; it is kept up to date.
func (f *Feed) Focus(id string) {
	f.mu.Lock()
	same := f.focus == id
	f.focus = id
	f.mu.Unlock()
	if !same {
		signal(f.ask)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// change folds something in and lets the screen know.
func (f *Feed) change(fold func(*state)) {
	f.mu.Lock()
	fold(f.state)
	eventful := f.state.eventful
	f.state.eventful = false
	f.mu.Unlock()
	if eventful {
		signal(f.ask)
	}
	signal(f.news)
}

// notify wakes the screen, and then holds further news back for a while.
func (f *Feed) notify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.news:
			f.wake()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wakeEvery):
		}
	}
}

// stream connects, reads, and connects again.
func (f *Feed) stream(ctx context.Context) {
	wait, attempt := firstWait, 0
	for ctx.Err() == nil {
		heard, err := f.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			wait, attempt = firstWait, 0
		}
		attempt++
		pause := wait + rand.N(wait/4)
		f.change(func(s *state) { s.lost(err, attempt, f.now().Add(pause)) })
		select {
		case <-ctx.Done():
			return
		case <-f.retry:
		case <-time.After(pause):
		}
		wait = min(wait*2, longWait)
	}
}

var (
	errSilent = errors.New("nothing was heard for 10s")
	errEnded  = errors.New("the stream ended")
)

// read takes updates in until the stream breaks, and reports whether there were any.
func (f *Feed) read(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	f.mu.Lock()
	after := f.state.lastSeq
	f.mu.Unlock()
	for u, err := range f.port.Watch(ctx, after) {
		if err != nil {
			return heard, cause(ctx, err)
		}
		watchdog.Reset(silence)
		if !heard {
			heard = true
			f.connected()
		}
		f.change(func(s *state) { s.apply(u, f.now()) })
	}
	return heard, cause(ctx, errEnded)
}

// cause is why the context was cancelled, if it was, or else err.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// refresh asks for the lists whenever events say that they may have changed.
func (f *Feed) refresh(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.ask:
		}
		f.history(ctx)
		f.lists(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wakeEvery):
		}
	}
}

func (f *Feed) connected() {
	f.mu.Lock()
	f.fresh = true
	f.mu.Unlock()
	signal(f.ask)
}

// history asks for the recent past once for every connection.
func (f *Feed) history(ctx context.Context) {
	f.mu.Lock()
	fresh := f.fresh
	f.mu.Unlock()
	var past console.Series
	if !fresh || f.question(ctx, console.GetSeries, console.Query{}, &past) != nil {
		return
	}
	f.change(func(s *state) {
		s.past(past)
		f.fresh = false
	})
}

// lists asks for everything that is not in the stream.
func (f *Feed) lists(ctx context.Context) {
	var rollouts []rollout.Rollout
	var releases []rollout.Release
	var incidents []health.Incident
	if f.question(ctx, console.GetRollouts, console.Query{Limit: 200}, &rollouts) != nil ||
		f.question(ctx, console.GetReleases, console.Query{}, &releases) != nil ||
		f.question(ctx, console.GetIncidents, console.Query{}, &incidents) != nil {
		return
	}
	f.mu.Lock()
	id := f.focus
	f.mu.Unlock()
	var timeline console.Timeline
	told := len(rollouts) > 0 && f.question(ctx, console.GetRollout, console.Query{ID: id}, &timeline) == nil
	f.change(func(s *state) {
		s.snap.Rollouts, s.snap.Releases, s.snap.Incidents = rollouts, releases, incidents
		if told {
			s.snap.Timeline = timeline
		}
		s.snap.Version++
	})
}

func (f *Feed) question(ctx context.Context, op console.Op, q console.Query, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return f.port.Ask(ctx, op, q, out)
}

// Older asks for n audit entries from before the oldest one known.
func (f *Feed) Older(ctx context.Context, n int) error {
	f.mu.Lock()
	var before journal.Seq
	if a := f.state.snap.Audit; len(a) > 0 {
		before = a[len(a)-1].Seq
	}
	f.mu.Unlock()
	var entries []console.AuditEntry
	if err := f.question(ctx, console.GetAudit, console.Query{Limit: n, Before: before}, &entries); err != nil {
		return err
	}
	f.change(func(s *state) { s.older(entries, n) })
	return nil
}

// words splits an error into what happened and what to do about it.
func words(err error) (message, hint string) {
	var e *console.Error
	if errors.As(err, &e) {
		return e.Message, e.Hint
	}
	return err.Error(), ""
}
