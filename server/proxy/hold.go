package proxy

import (
	"context"
	"time"
)

// retryPause is how long a request waits before it asks instances again that all refused a connection, unless the table
// changes first: a supervisor notices a dead worker within milliseconds.
const retryPause = 20 * time.Millisecond

// hold is one request's wait for an instance that can be reached.
type hold struct {
	b     *Balancer
	until time.Time // zero until the first wait
}

// wait returns nil when it is worth looking for an instance again: the table t was replaced, or retryPause is over and t
// did hold instances. It fails when the request has waited for Options.Hold in all, when too many wait already, or when
// ctx ends.
func (h *hold) wait(ctx context.Context, t *table) *failure {
	now := time.Now()
	if h.until.IsZero() {
		h.until = now.Add(h.b.opts.Hold)
		h.b.held.Add(1)
	}
	left := h.until.Sub(now)
	if left <= 0 {
		return unavailable(t)
	}
	defer h.b.holding.Add(-1)
	if h.b.holding.Add(1) > int64(h.b.opts.HoldLimit) {
		return unavailable(t)
	}
	if len(t.routes) > 0 {
		left = min(left, retryPause)
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-t.replaced:
	case <-timer.C:
	case <-ctx.Done():
		return abandoned(ctx)
	}
	return nil
}
