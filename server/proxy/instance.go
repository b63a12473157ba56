package proxy

import (
	"sync"
	"sync/atomic"
)

// Target names one instance of a release and where it listens.
type Target struct {
	ID      string // unique among all instances
	Release string
	Addr    string // host:port
}

// instance is a Target that has joined: its counters, its connections, and how far its leaving has come.
type instance struct {
	Target
	counters
	pool    *pool
	tunnels tunnels

	suspended bool // guarded by Balancer.mu
	forgotten bool // guarded by Balancer.mu: Leave is over, only its counters are still wanted

	leaving atomic.Bool // set before the last request in flight is waited for; never cleared
	down    atomic.Bool // the last connection attempt failed; others of the release are preferred
	cut     atomic.Bool // Leave ran out of time

	drainOnce sync.Once
	drained   chan struct{} // closed when leaving and nothing is in flight
}

func newInstance(t Target, o *Options) *instance {
	return &instance{Target: t, pool: newPool(t.Addr, o), drained: make(chan struct{})}
}

// ready says whether requests may be given to it. Balancer.mu is held.
func (in *instance) ready() bool {
	return !in.suspended && !in.leaving.Load()
}

// acquire counts a request in, unless the instance is leaving. The count comes first: Leave sets leaving before it looks
// at the count, so either Leave sees this request or this request sees that Leave has begun.
func (in *instance) acquire() bool {
	in.inFlight.Add(1)
	if in.leaving.Load() {
		in.release()
		return false
	}
	return true
}

func (in *instance) release() {
	if in.inFlight.Add(-1) == 0 && in.leaving.Load() {
		in.checkDrained()
	}
}

// upgrade turns the request in flight into an upgraded connection; endUpgrade ends that. The request itself is released
// by its own path, so for a moment it counts as both and never as neither.
func (in *instance) upgrade() { in.upgraded.Add(1) }

func (in *instance) endUpgrade() {
	if in.upgraded.Add(-1) == 0 && in.leaving.Load() {
		in.checkDrained()
	}
}

// checkDrained closes drained if nothing is in flight. Requests are looked at first because they turn into upgraded
// connections and never back.
func (in *instance) checkDrained() {
	if in.inFlight.Load() == 0 && in.upgraded.Load() == 0 {
		in.drainOnce.Do(func() { close(in.drained) })
	}
}

func (in *instance) isDrained() bool {
	select {
	case <-in.drained:
		return true
	default:
		return false
	}
}
