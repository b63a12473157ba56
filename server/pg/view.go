package pg

import (
	"slices"
	"time"
)

// view is what is known of all servers: made anew by each round of looks, and never changed.
type view struct {
	roles   []Role
	seen    []sighting
	primary int // index, or -1
	history []mark
}

// mark is where the primary was at a time.
type mark struct {
	at  time.Time
	lsn LSN
}

// keepMarks is how far back lags can be told, in looks at the primary.
const keepMarks = 128

// next is the view after a round of looks. Of several servers that take writes, the one on the newest timeline is the
// primary: the others were the primary before it was promoted, and what they hold has parted from it. On the same
// timeline the one that was the primary stays it. While the newest is away nobody is: writing to an older one would
// part the data for good.
func (v view) next(seen []sighting) view {
	seen = slices.Clone(seen)
	newest := uint32(0)
	for i := range seen {
		if seen[i].role == Away && i < len(v.seen) {
			seen[i].timeline = v.seen[i].timeline
		}
		newest = max(newest, seen[i].timeline)
	}
	out := view{roles: make([]Role, len(seen)), seen: seen, primary: -1, history: v.history}
	for i, s := range seen {
		out.roles[i] = s.role
		if s.role == Primary && s.timeline == newest && (out.primary < 0 || i == v.primary) {
			out.primary = i
		}
	}
	for i, role := range out.roles {
		if role == Primary && i != out.primary {
			out.roles[i] = Retired
		}
	}
	if out.primary >= 0 {
		kept := out.history[max(0, len(out.history)-keepMarks+1):]
		out.history = append(slices.Clone(kept), mark{seen[out.primary].at, seen[out.primary].lsn})
	}
	return out
}

// lag is how far a replica is behind the primary: the age of the newest position of the primary's that it has not
// reached. Nothing is known where the primary has not been seen.
func (v view) lag(i int, now time.Time) time.Duration {
	behind := time.Duration(0)
	for j := len(v.history) - 1; j >= 0; j-- {
		if v.history[j].lsn <= v.seen[i].lsn {
			return behind
		}
		behind = now.Sub(v.history[j].at)
	}
	return behind
}

// readers are the servers that a read may go to, the best first: replicas that have replayed what the session has
// written and are not far behind, then the primary. With the primary away, replicas serve however far behind they
// are, but never before what the session has written. turn spreads reads over the replicas.
func (v view) readers(need LSN, maxLag time.Duration, turn uint64, now time.Time) []int {
	var fresh []int
	for i, role := range v.roles {
		if role == Replica && v.seen[i].lsn >= need && (v.primary < 0 || v.lag(i, now) <= maxLag) {
			fresh = append(fresh, i)
		}
	}
	if len(fresh) > 1 {
		k := int(turn % uint64(len(fresh)))
		fresh = append(fresh[k:len(fresh):len(fresh)], fresh[:k]...)
	}
	if v.primary >= 0 {
		fresh = append(fresh, v.primary)
	}
	return fresh
}
