package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/covetpy/covet/ops/journal"
)

// ErrSuspended is what a Keeper answers while its journal is in other hands.
var ErrSuspended = errors.New("the journal is being handed over to another covetd")

// eventsKept bounds the newest events a Keeper holds in memory for those who follow it.
const eventsKept = 5000

// Keeper holds the folded state of one journal and lets many readers and writers share it. Safe for concurrent use.
type Keeper struct {
	mu      sync.Mutex
	journal journal.Journal // nil while suspended
	state   State
	recent  []journal.Event
	changed chan struct{} // closed and replaced at every change
}

// OpenKeeper reads the whole journal and folds it.
func OpenKeeper(ctx context.Context, j journal.Journal) (*Keeper, error) {
	k := &Keeper{changed: make(chan struct{})}
	if err := k.Resume(ctx, j); err != nil {
		return nil, err
	}
	return k, nil
}

// Suspend lets go of the journal: until Resume nothing can be appended.
func (k *Keeper) Suspend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.journal = nil
}

// Resume takes up a journal, and reads what others have written to it meanwhile.
func (k *Keeper) Resume(ctx context.Context, j journal.Journal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.catchUp(ctx, j); err != nil {
		return err
	}
	k.journal = j
	return nil
}

func (k *Keeper) catchUp(ctx context.Context, j journal.Journal) error {
	for e, err := range j.Read(ctx, k.state.Seq+1) {
		if err != nil {
			return fmt.Errorf("read the journal from event %d: %w", k.state.Seq+1, err)
		}
		if err := k.apply(e); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) apply(e journal.Event) error {
	next, err := Fold(k.state, e)
	if err != nil {
		return fmt.Errorf("fold the journal: %w", err)
	}
	k.state = next
	k.recent = append(k.recent, e)
	if len(k.recent) > 2*eventsKept {
		k.recent = append([]journal.Event(nil), k.recent[eventsKept:]...)
	}
	close(k.changed)
	k.changed = make(chan struct{})
	return nil
}

// State is what the journal says now. It must not be changed.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Append writes events if nothing was written since the state of sequence number after; otherwise it returns
// journal.ErrConflict, having read what others wrote.
func (k *Keeper) Append(ctx context.Context, after journal.Seq, events ...journal.Event) (State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal == nil {
		return k.state, ErrSuspended
	}
	if after != k.state.Seq {
		return k.state, journal.ErrConflict
	}
	last, err := k.journal.Append(ctx, after, events...)
	if errors.Is(err, journal.ErrConflict) {
		return k.state, errors.Join(err, k.catchUp(ctx, k.journal))
	}
	if err != nil {
		return k.state, fmt.Errorf("write %s to the journal: %w", events[0].Kind, err)
	}
	for i, e := range events {
		e.Seq = last - journal.Seq(len(events)-1-i)
		if err := k.apply(e); err != nil {
			return k.state, err
		}
	}
	return k.state, nil
}

// Decide appends what decide makes of the state, and decides again when somebody else was faster. No events, no write.
func (k *Keeper) Decide(ctx context.Context, decide func(State) ([]journal.Event, error)) (State, error) {
	for {
		s := k.State()
		events, err := decide(s)
		if err != nil || len(events) == 0 {
			return s, err
		}
		after, err := k.Append(ctx, s.Seq, events...)
		if !errors.Is(err, journal.ErrConflict) {
			return after, err
		}
		if ctx.Err() != nil {
			return after, ctx.Err()
		}
	}
}

// Changed returns a channel that is closed at the next change.
func (k *Keeper) Changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed
}

// Since returns the events after a number, oldest first, at most limit of the newest, and the number of the last event
// there is. Events that are no longer in memory are read from the journal.
func (k *Keeper) Since(ctx context.Context, after journal.Seq, limit int) ([]journal.Event, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	events := k.recent
	if len(events) > 0 && events[0].Seq > after+1 && k.journal != nil {
		events = nil
		for e, err := range k.journal.Read(ctx, after+1) {
			if err != nil {
				return nil, fmt.Errorf("read the journal from event %d: %w", after+1, err)
			}
			events = append(events, e)
		}
	}
	first := len(events)
	for first > 0 && events[first-1].Seq > after {
		first--
	}
	events = events[first:]
	if len(events) > limit {
		events = events[len(events)-limit:]
	}
	return append([]journal.Event(nil), events...), nil
}

// CatchUp reads what others have written to the journal meanwhile.
func (k *Keeper) CatchUp(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal == nil {
		return ErrSuspended
	}
	return k.catchUp(ctx, k.journal)
}
