package proxy

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// ErrUnknownInstance is returned for an instance that never joined or has left.
var ErrUnknownInstance = errors.New("unknown instance")

// Balancer splits requests between the releases of a service. Its methods may be called at any time from anywhere; a
// change holds for every request that is received after the method has returned.
type Balancer struct {
	opts  Options
	log   warner
	heads buffers
	bulks buffers
	table atomic.Pointer[table]

	mu        sync.Mutex
	byID      map[string]*instance
	members   map[*instance]struct{} // byID, and those forgotten whose last requests have not ended
	departed  map[string]Counters    // by release: counters of instances that are gone
	weights   map[string]int
	candidate string

	_       [64]byte // turn is written by every request, what is above is read by every request
	turn    atomic.Uint64
	_       [64]byte
	holding atomic.Int64
	held    atomic.Uint64
	refused atomic.Uint64
	invalid atomic.Uint64
}

// New returns a Balancer without instances: it holds requests until one joins.
func New(o Options) *Balancer {
	b := &Balancer{
		opts:     o.Normalize(),
		byID:     make(map[string]*instance),
		members:  make(map[*instance]struct{}),
		departed: make(map[string]Counters),
		heads:    buffers{size: headBuffer},
		bulks:    buffers{size: bulkBuffer},
	}
	b.log.to = b.opts.Logger
	b.table.Store(newTable(nil, nil, ""))
	return b
}

// Join lets a ready instance take requests. Joining again changes nothing, except that a suspended instance is resumed.
// Joining under the ID of one that is leaving, or with another address, adds a new instance; the old one gets nothing more.
func (b *Balancer) Join(t Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.byID[t.ID]
	if old != nil && old.Target == t && !old.leaving.Load() {
		old.suspended = false
		b.rebuild()
		return
	}
	in := newInstance(t, &b.opts)
	b.byID[t.ID] = in
	b.members[in] = struct{}{}
	if old != nil {
		old.leaving.Store(true)
	}
	b.rebuild()
	if old != nil {
		old.retire()
		b.forget(old)
	}
}

// Suspend gives an instance no further requests until Resume; those in flight go on and its counters stay.
func (b *Balancer) Suspend(id string) error { return b.suspend(id, true) }

// Resume undoes Suspend.
func (b *Balancer) Resume(id string) error { return b.suspend(id, false) }

func (b *Balancer) suspend(id string, suspended bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.byID[id]
	if in == nil {
		return fmt.Errorf("balancer: instance %q: %w", id, ErrUnknownInstance)
	}
	in.suspended = suspended
	b.rebuild()
	return nil
}

// SetWeights sets what percentage of the requests each release gets, in one step. The weights must not be negative and
// must sum to 100; a release that is not named gets 0. The share of a release without a ready instance goes to the others.
func (b *Balancer) SetWeights(w map[string]int) error {
	sum := 0
	for release, percent := range w {
		if percent < 0 {
			return fmt.Errorf("balancer: weight of release %q is %d: it must be between 0 and 100", release, percent)
		}
		sum += percent
	}
	if sum != 100 {
		return fmt.Errorf("balancer: weights sum to %d: they must sum to 100", sum)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weights = maps.Clone(w)
	b.rebuild()
	return nil
}

// Weights returns what SetWeights was last given, or nil: until then all releases share equally.
func (b *Balancer) Weights() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.weights)
}

// SetCandidate names the release that gets every request with "x-canary: true", whatever the weights; "" for none.
func (b *Balancer) SetCandidate(release string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.candidate = release
	b.rebuild()
}

// rebuild puts a table in place that reflects the fields. b.mu is held.
func (b *Balancer) rebuild() {
	var ready []*instance
	for _, in := range b.byID {
		if in.ready() {
			ready = append(ready, in)
		}
	}
	old := b.table.Swap(newTable(ready, b.weights, b.candidate))
	close(old.replaced)
}
