package console

import (
	"context"
	"iter"
	"slices"
	"strings"
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
		w := watcher{desk: d, after: after}
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
	raw   []rollout.Instance // as they were seen
	last  []rollout.Instance // by their ids
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

// instances is what changed about the instances since they were last looked at, or nil.
func (w *watcher) instances() *InstancesUpdate {
	raw := w.desk.seen()
	if w.begun && same(raw, w.raw) {
		return nil
	}
	was, is := w.last, sorted(raw)
	w.raw, w.last = raw, is
	if !w.begun {
		w.begun = true
		return &InstancesUpdate{All: true, Changed: is}
	}
	var u InstancesUpdate
	for len(was) > 0 || len(is) > 0 {
		switch order := first(was, is); {
		case order < 0:
			u.Gone = append(u.Gone, was[0].ID)
			was = was[1:]
		case order > 0:
			u.Changed = append(u.Changed, is[0])
			is = is[1:]
		default:
			if !alike(&was[0], &is[0]) {
				u.Changed = append(u.Changed, is[0])
			}
			was, is = was[1:], is[1:]
		}
	}
	if len(u.Changed) == 0 && len(u.Gone) == 0 {
		return nil
	}
	return &u
}

// same reports whether two lists are the very same one.
func same(a, b []rollout.Instance) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// first tells which of two sorted lists begins with the lower id: the left one (-1), the right one (1), or both (0).
func first(left, right []rollout.Instance) int {
	switch {
	case len(right) == 0:
		return -1
	case len(left) == 0:
		return 1
	}
	return strings.Compare(left[0].ID, right[0].ID)
}

// alike reports whether nothing has changed but what always flickers, so that an idle instance is not sent every second.
func alike(a, b *rollout.Instance) bool {
	return a.Release == b.Release && a.State == b.State && a.Since.Equal(b.Since) && a.StartedAt.Equal(b.StartedAt) && a.PID == b.PID &&
		a.Port == b.Port && a.Restarts == b.Restarts && a.StartFailures == b.StartFailures && a.Reason == b.Reason &&
		slices.Equal(a.LastLog, b.LastLog) && int(a.CPU*100) == int(b.CPU*100) && a.RSS>>20 == b.RSS>>20 && a.InFlight == b.InFlight &&
		int(a.RequestRate) == int(b.RequestRate) && a.ErrorRate == b.ErrorRate && int(a.P95) == int(b.P95)
}
