package kube

import (
	"sync"
	"time"
)

// bell tells any number of waiters that something has changed.
type bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// changed is closed at the next ring.
func (b *bell) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// now is the clock. Spans are measured on it by the monotonic reading that every time.Time has.
func now() time.Time { return time.Now() }
