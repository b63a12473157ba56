package proxy

import (
	"context"
	"fmt"
	"time"
)

// unwind is how long Leave waits for requests that it has cut to return, and closeGrace how long a WebSocket has to answer
// a close frame.
const (
	unwind     = time.Second
	closeGrace = 2 * time.Second
)

// CutError says what Leave broke off: what had not ended in its time.
type CutError struct {
	ID       string
	Requests int // requests without a complete answer
	Upgraded int // upgraded connections, WebSockets that did not answer the close frame among them
	Cause    error
}

func (e *CutError) Error() string {
	return fmt.Sprintf("balancer: instance %q left with %d requests and %d upgraded connections cut off: %v",
		e.ID, e.Requests, e.Upgraded, e.Cause)
}

func (e *CutError) Unwrap() error { return e.Cause }

// Leave gives the instance no further requests from now on, waits until those in flight have ended, and forgets it; its
// counters stay with its release. Upgraded connections may go on for Options.UpgradeDrain, or until shortly before ctx's
// deadline; then WebSockets are closed with 1001 to both sides and others are cut. When ctx ends, everything left is cut.
// What was cut is counted in the *CutError returned; either way the instance has left.
func (b *Balancer) Leave(ctx context.Context, id string) error {
	b.mu.Lock()
	in := b.byID[id]
	if in == nil {
		b.mu.Unlock()
		return fmt.Errorf("balancer: instance %q: %w", id, ErrUnknownInstance)
	}
	in.leaving.Store(true)
	b.rebuild()
	b.mu.Unlock()
	in.retire()

	budget := b.opts.UpgradeDrain
	if end, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(end)-closeGrace)
	}
	goAway := time.AfterFunc(budget, in.tunnels.goAway)
	defer goAway.Stop()
	var err error
	select {
	case <-in.drained:
		err = in.tunnels.cutError(id)
	case <-ctx.Done():
		err = in.cutAll(context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(in)
	return err
}

// retire closes the idle connections of an instance that is leaving.
func (in *instance) retire() {
	in.pool.retire()
	in.checkDrained()
}

// forget drops the instance; its counters go to its release as soon as they are final. b.mu is held.
func (b *Balancer) forget(in *instance) {
	in.forgotten = true
	if b.byID[in.ID] == in {
		delete(b.byID, in.ID)
	}
	b.settle(in)
}

// settle moves the counters of a forgotten instance to its release once its last request has ended. b.mu is held.
func (b *Balancer) settle(in *instance) {
	if _, member := b.members[in]; member && in.forgotten && in.isDrained() {
		b.departed[in.Release] = b.departed[in.Release].Add(in.snapshot())
		delete(b.members, in)
	}
}

// cutAll breaks off everything in flight and waits a moment for it to unwind, so that it is counted.
func (in *instance) cutAll(cause error) error {
	in.cut.Store(true)
	e := &CutError{
		ID:       in.ID,
		Requests: int(in.inFlight.Load()),
		Upgraded: int(in.upgraded.Load()),
		Cause:    cause,
	}
	if in.isDrained() {
		return in.tunnels.cutError(in.ID)
	}
	in.pool.cut()
	in.tunnels.cut()
	select {
	case <-in.drained:
	case <-time.After(unwind):
	}
	return e
}
