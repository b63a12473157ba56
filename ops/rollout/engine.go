package rollout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
)

// Signals measures the arms of a service.
type Signals interface {
	Evidence(ctx context.Context, s State, instances []Instance, now time.Time) (health.Evidence, error)
}

// Engine drives a service to what its journal says: it observes, decides, journals, acts, and looks again. Everything it
// knows is in the journal or before its eyes, so it may be stopped at any instruction and started anywhere.
type Engine struct {
	Keeper   *Keeper
	Platform Platform
	Router   Router
	Signals  Signals
	Matrix   health.Matrix
	Log      *slog.Logger
	Every    time.Duration    // the longest time between two looks; 250 ms if zero
	Wake     <-chan struct{}  // more looks: the platform has changed
	Now      func() time.Time // the clock; time.Now if nil

	mu       sync.Mutex
	last     Snapshot
	problem  error
	assessed time.Time
}

// assessEvery is the time between two looks at the health signals.
const assessEvery = time.Second

// Run drives until the context ends. A step that fails is reported by Problem and tried again.
func (e *Engine) Run(ctx context.Context) error {
	every := e.Every
	if every == 0 {
		every = 250 * time.Millisecond
	}
	for {
		changed := e.Keeper.Changed()
		again, err := e.Tick(ctx)
		e.note(err)
		if again && ctx.Err() == nil {
			continue
		}
		wait := time.NewTimer(every)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-changed:
		case <-e.Wake:
		case <-wait.C:
		}
		wait.Stop()
	}
}

// note remembers the current problem, and logs it when it changes.
func (e *Engine) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && (e.problem == nil || e.problem.Error() != err.Error()) {
		e.Log.Error("the rollout engine cannot go on; it tries again", "error", err)
	}
	e.problem = err
}

// Problem is what keeps the engine from its work just now, or nil.
func (e *Engine) Problem() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.problem
}

// Last is what the engine saw when it last looked.
func (e *Engine) Last() Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// Tick looks once, journals what follows, and makes the world fit the journal. It reports whether something was journalled,
// so that it is worth looking again at once.
func (e *Engine) Tick(ctx context.Context) (bool, error) {
	seen, err := e.observe(ctx)
	if err != nil {
		return false, err
	}
	moved := false
	s, err := e.Keeper.Decide(ctx, func(s State) ([]journal.Event, error) {
		events := Next(s, seen, e.now())
		moved = len(events) > 0
		return events, nil
	})
	if errors.Is(err, ErrSuspended) {
		return false, nil // another covetd takes over: nothing is to be done
	}
	acted := e.reconcile(ctx, s, seen)
	if foreign := new(ForeignError); errors.As(acted, &foreign) {
		err = errors.Join(err, e.stand(ctx, foreign))
	}
	return moved && err == nil, errors.Join(err, acted)
}

// stand pauses the rollout under way: somebody else changes what it changes, and two that fight help nobody.
func (e *Engine) stand(ctx context.Context, foreign *ForeignError) error {
	_, err := e.Keeper.Decide(ctx, func(s State) ([]journal.Event, error) {
		r := s.Active
		if r == nil || r.Paused || r.Phase == Aborting {
			return nil, nil
		}
		return []journal.Event{event(e.now(), ByCovetd, RolloutPaused, r.ID, Note{Message: foreign.Error()})}, nil
	})
	return err
}

func (e *Engine) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Engine) observe(ctx context.Context) (Snapshot, error) {
	now := e.now()
	instances, err := e.Platform.Observe(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("observe the instances: %w", err)
	}
	weights, candidate, err := e.Router.Weights(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read the weights back: %w", err)
	}
	seen := Snapshot{At: now, Instances: instances, Weights: weights, Candidate: candidate, Health: e.Last().Health}
	if p, ok := e.Platform.(Settler); ok {
		seen.Unsettled = !p.Settled()
	}
	if now.Sub(e.assessed) >= assessEvery {
		e.assessed = now
		if seen.Health, err = e.assess(ctx, seen); err != nil {
			return Snapshot{}, err
		}
	}
	e.mu.Lock()
	e.last = seen
	e.mu.Unlock()
	return seen, nil
}

// assess measures, judges, and journals the incidents that follow.
func (e *Engine) assess(ctx context.Context, seen Snapshot) (health.Assessment, error) {
	prev := seen.Health
	s := e.Keeper.State()
	if s.Stopped != nil {
		return health.Assessment{}, nil // that nothing answers is what somebody wanted
	}
	evidence, err := e.Signals.Evidence(ctx, s, seen.Instances, seen.At)
	if err != nil {
		return prev, fmt.Errorf("measure the signals: %w", err)
	}
	next := health.Assess(prev, e.Matrix, evidence)
	_, err = e.Keeper.Decide(ctx, func(s State) ([]journal.Event, error) {
		about, id := "", ""
		if s.Active != nil {
			about, id = s.Active.To, s.Active.ID
		}
		return health.Raise(s.Incidents, e.Matrix, prev, next, about, id), nil
	})
	if errors.Is(err, ErrSuspended) {
		return prev, nil
	}
	return next, err
}

// reconcile moves the traffic first and the instances after it, so that nothing is stopped that still has any.
func (e *Engine) reconcile(ctx context.Context, s State, seen Snapshot) error {
	want := Wanted(s)
	var held error
	if !maps.Equal(want.Weights, seen.Weights) || want.Candidate != seen.Candidate {
		err := e.Router.SetWeights(ctx, want.Weights, want.Candidate)
		switch {
		case errors.Is(err, ErrHeld):
			held = err
		case err != nil:
			return fmt.Errorf("set the weights: %w", err)
		}
	}
	if err := e.Platform.Ensure(ctx, Desire(s, want)); err != nil {
		return errors.Join(held, fmt.Errorf("ensure the instances: %w", err))
	}
	return held
}
