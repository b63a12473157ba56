package workers

import "time"

const sweepLimit = 5 * time.Second

// sweep kills what a dead covetd left that had this one's state folder. A living one's workers are not touched: during a
// hand-over there are two.
func sweep(me owner) (int, error) {
	alive := living{}
	return hunt(func(s suspect) bool { return leftover(me, s, alive.alive) }, sweepLimit)
}

// leftover decides it; alive says whether an owner lives, by pid and start (0: not known, but not after the given time).
func leftover(me owner, s suspect, alive func(pid int, start, before uint64) bool) bool {
	if o, err := parseOwner(lookup(s.env(), ownerVariable)); err == nil { // it knows the owner exactly
		return o.state == me.state && !alive(o.pid, o.start, s.start)
	}
	return s.mark != 0 && s.mark.state() == me.stateMark() && !alive(s.mark.pid(), 0, s.start)
}

// living remembers the start time of processes, 0 for dead ones, so that a sweep asks once for each.
type living map[int]uint64

func (l living) alive(pid int, start, before uint64) bool {
	got, asked := l[pid]
	if !asked {
		if p, err := readProc(pid); err == nil && !p.zombie {
			got = p.start
		}
		l[pid] = got
	}
	if got == 0 {
		return false
	}
	if start != 0 {
		return got == start
	}
	return got <= before // an owner started before its workers did; a later process only got its number
}
