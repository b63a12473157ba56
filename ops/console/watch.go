package console

import (
	"context"
	"iter"
	"reflect"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// watchEvery is the time between two looks at what is not in the journal.
const watchEvery = time.Second

// watchPast bounds the past events that a watcher from the beginning is given.
const watchPast = 500

// Watch yields the live stream: the events numbered above after (the newest few hundred where that is zero), then the
// status and every instance, then whatever changes, until the context ends. Whoever reads slowly misses states in between,
// never an event.
func (d *Desk) Watch(ctx context.Context, after journal.Seq) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		w := watcher{desk: d, after: after, sent: map[string]rollout.Instance{}}
		limit := watchPast
		if after > 0 {
			limit = int(^uint(0) >> 1)
		}
		for {
			changed := d.Keeper.Changed()
			if !w.events(ctx, limit, yield) || !w.now(yield) {
				return
			}
			limit = int(^uint(0) >> 1)
			wait := time.NewTimer(watchEvery)
			select {
			case <-ctx.Done():
				wait.Stop()
				return
			case <-changed:
			case <-wait.C:
			}
			wait.Stop()
		}
	}
}

type watcher struct {
	desk  *Desk
	after journal.Seq
	sent  map[string]rollout.Instance
	begun bool
}

func (w *watcher) events(ctx context.Context, limit int, yield func(Update, error) bool) bool {
	events, err := w.desk.Keeper.Since(ctx, w.after, limit)
	if err != nil {
		yield(Update{}, fail(CodeInternal, "", "%v", err))
		return false
	}
	for i := range events {
		w.after = events[i].Seq
		if !yield(Update{Event: &events[i]}, nil) {
			return false
		}
	}
	return true
}

func (w *watcher) now(yield func(Update, error) bool) bool {
	st := w.desk.status()
	if !yield(Update{Status: &st}, nil) {
		return false
	}
	u := w.instances()
	return u == nil || yield(Update{Instances: u}, nil)
}

// instances is what changed about the instances since they were last sent, or nil.
func (w *watcher) instances() *InstancesUpdate {
	u := InstancesUpdate{All: !w.begun}
	w.begun = true
	here := map[string]bool{}
	for _, i := range w.desk.instances() {
		here[i.ID] = true
		if old, ok := w.sent[i.ID]; ok && reflect.DeepEqual(coarse(old), coarse(i)) {
			continue
		}
		w.sent[i.ID] = i
		u.Changed = append(u.Changed, i)
	}
	for id := range w.sent {
		if !here[id] {
			delete(w.sent, id)
			u.Gone = append(u.Gone, id)
		}
	}
	if !u.All && len(u.Changed) == 0 && len(u.Gone) == 0 {
		return nil
	}
	return &u
}

// coarse rounds what always flickers, so that an idle instance is not sent every second.
func coarse(i rollout.Instance) rollout.Instance {
	i.RSS = i.RSS >> 20
	i.CPU = float64(int(i.CPU * 100))
	i.RequestRate = float64(int(i.RequestRate))
	i.P95 = float64(int(i.P95))
	return i
}
