package workers

import (
	"context"
	"sync"
)

// watchers wakes any number of listeners, each at most once until it looks.
type watchers struct {
	mu   sync.Mutex
	list map[chan struct{}]struct{}
}

func newWatchers() *watchers { return &watchers{list: map[chan struct{}]struct{}{}} }

func (w *watchers) watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.list, c)
	})
	return c
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.list {
		nudge(c)
	}
}
