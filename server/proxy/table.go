package proxy

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// table is who gets the next request: an immutable picture of the ready instances and the weights of their releases,
// replaced as a whole by every change. Readers load it and lock nothing.
type table struct {
	routes    []*route      // releases with a ready instance, by name
	schedule  []uint16      // indexes of routes, each as often as its weight, as evenly spread as can be
	candidate *route        // where x-canary requests go; nil where the candidate has no ready instance
	canary    bool          // a candidate is set, ready or not
	replaced  chan struct{} // closed when another table has taken this one's place
}

// route is a release's ready instances.
type route struct {
	release   string
	weight    int
	instances []*instance
	turn      atomic.Uint32 // rotates the start of the search, and with it the winner among equals
}

// newTable builds the table for the ready instances. Weights of releases without one are shared out among the others;
// where no release with a ready instance has a weight, they share equally: serving from a release of weight 0 is better
// than serving nobody.
func newTable(ready []*instance, weights map[string]int, candidate string) *table {
	t := &table{replaced: make(chan struct{}), canary: candidate != ""}
	byName := make(map[string]*route)
	for _, in := range ready {
		r := byName[in.Release]
		if r == nil {
			r = &route{release: in.Release, weight: weights[in.Release]}
			byName[in.Release] = r
			t.routes = append(t.routes, r)
		}
		r.instances = append(r.instances, in)
	}
	slices.SortFunc(t.routes, func(a, b *route) int { return cmp.Compare(a.release, b.release) })
	t.candidate = byName[candidate]
	shares := make([]int, len(t.routes))
	for i, r := range t.routes {
		shares[i] = r.weight
		slices.SortFunc(r.instances, func(a, b *instance) int { return cmp.Compare(a.ID, b.ID) })
	}
	t.schedule = spread(shares)
	return t
}

// spread returns a sequence in which each index occurs in proportion to its share, as evenly as possible: smooth
// weighted round robin, one whole period of it. With shares 90 and 10 every ten requests in a row hold exactly one of
// the second.
func spread(shares []int) []uint16 {
	var sum, divisor int
	for _, s := range shares {
		sum += s
		divisor = gcd(divisor, s)
	}
	if sum == 0 {
		shares = slices.Repeat([]int{1}, len(shares))
		sum, divisor = len(shares), 1
	}
	if sum == 0 {
		return nil
	}
	sequence := make([]uint16, sum/divisor)
	current := make([]int, len(shares))
	for n := range sequence {
		best := 0
		for i, s := range shares {
			current[i] += s
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= sum
		sequence[n] = uint16(best)
	}
	return sequence
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// choice is what a request needs to know of the instance it got.
type choice struct {
	in     *instance
	missed bool // the request asked for the candidate and it has no ready instance
}

// pick chooses for the request that is number turn. Instances in avoid have failed it already. An instance of another
// release is chosen when its own release has none to offer.
func (t *table) pick(turn uint64, canary, upgrade bool, avoid []*instance) (c choice) {
	if len(t.routes) == 0 {
		return c
	}
	r := t.routes[t.schedule[turn%uint64(len(t.schedule))]]
	if canary {
		r = cmp.Or(t.candidate, r)
	}
	if c.in = r.least(upgrade, avoid); c.in == nil {
		c.in = t.another(r, upgrade, avoid)
	}
	c.missed = canary && t.canary && (t.candidate == nil || c.in != nil && c.in.Release != t.candidate.release)
	return c
}

// another chooses from a release other than r; first from those meant to have traffic.
func (t *table) another(r *route, upgrade bool, avoid []*instance) *instance {
	for _, weighted := range []bool{true, false} {
		for _, other := range t.routes {
			if other == r || other.weight > 0 != weighted {
				continue
			}
			if in := other.least(upgrade, avoid); in != nil {
				return in
			}
		}
	}
	return nil
}

// least returns the least loaded instance: the one with the fewest requests in flight, or for a request to upgrade the
// one with the fewest upgraded connections (long-lived and mostly silent, they would say little about load if counted
// together). Instances that could not be reached just now are taken last.
func (r *route) least(upgrade bool, avoid []*instance) (best *instance) {
	n := uint32(len(r.instances))
	if n == 1 && len(avoid) == 0 {
		return r.instances[0]
	}
	var bestLoad int64
	start := r.turn.Add(1)
	for i := range n {
		in := r.instances[(start+i)%n]
		if len(avoid) > 0 && slices.Contains(avoid, in) {
			continue
		}
		load := in.inFlight.Load()
		if upgrade {
			load = in.upgraded.Load()
		}
		if in.down.Load() {
			load += 1 << 40
		}
		if best == nil || load < bestLoad {
			best, bestLoad = in, load
		}
	}
	return best
}
