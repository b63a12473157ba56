package restore

import (
	"context"

	"github.com/covetpy/covet/ops/backup"
)

// FactsFunc reads what the records that begin in an archived segment say; next, where it isn't nil, is the one after it.
type FactsFunc func(ctx context.Context, s backup.Segment, next *backup.Segment) (backup.Facts, error)

// chain is a backup and the unbroken run of archived segments that follows its start.
type chain struct {
	head     backup.Head
	segments []backup.Segment
	// missing is the first segment that isn't there though a later one is; nil where the run ends with the archive.
	missing *backup.Segment
	facts   FactsFunc
	cache   map[int]backup.Facts
}

// route is the way to a timeline through its ancestors.
type route struct {
	own     backup.Timeline
	history backup.History
	size    int64
}

// candidates are the timelines that may hold a segment on the route, the preferred one first: the newest that had
// begun by then, as PostgreSQL itself looks for them.
func (r route) candidates(no uint64) []backup.Timeline {
	seg := func(l backup.LSN) uint64 { return uint64(l) / uint64(r.size) }
	var out []backup.Timeline
	n := len(r.history)
	if n == 0 || no >= seg(r.history[n-1].End) {
		out = append(out, r.own)
	}
	for i := n - 1; i >= 0; i-- {
		if (i == 0 || no >= seg(r.history[i-1].End)) && backup.LSN(no*uint64(r.size)) < r.history[i].End {
			out = append(out, r.history[i].Timeline)
		}
	}
	return out
}

// newChain follows the archive from a backup's start along the route.
func newChain(h backup.Head, r route, a *backup.Archived, facts FactsFunc) *chain {
	c := &chain{head: h, facts: facts, cache: map[int]backup.Facts{}}
	for no := h.FirstSegment().No; ; no++ {
		s, ok := pick(r, a, no)
		if !ok {
			if later(r, a, no) {
				c.missing = &backup.Segment{Timeline: r.candidates(no)[0], No: no}
			}
			return c
		}
		c.segments = append(c.segments, s)
	}
}

// pick finds the archived segment of a number. One of which only the beginning is there does only as the last: recovery
// would end in it.
func pick(r route, a *backup.Archived, no uint64) (backup.Segment, bool) {
	for _, t := range r.candidates(no) {
		s := backup.Segment{Timeline: t, No: no}
		if got, ok := a.Find(s); ok && (!got.Live || !later(r, a, no)) {
			return s, true
		}
	}
	return backup.Segment{}, false
}

// later says whether the archive has any segment of the route behind no.
func later(r route, a *backup.Archived, no uint64) bool {
	has := func(t backup.Timeline, before backup.LSN) bool {
		segs := a.Segments[t]
		for i := len(segs) - 1; i >= 0; i-- {
			if before == 0 || backup.LSN(segs[i].No*uint64(r.size)) < before {
				return segs[i].No > no
			}
		}
		return false
	}
	for _, f := range r.history {
		if has(f.Timeline, f.End) {
			return true
		}
	}
	return has(r.own, 0)
}

// whole says whether the backup itself has all the WAL that it needs.
func (c *chain) whole() bool {
	n := len(c.segments)
	return n > 0 && c.segments[n-1].No >= c.head.LastSegment().No
}

// end is the LSN up to which the log is there.
func (c *chain) end() backup.LSN {
	if len(c.segments) == 0 {
		return c.head.StartLSN
	}
	return c.segments[len(c.segments)-1].End(c.head.SegmentSize)
}

// index is the place in segments of the one that holds an LSN.
func (c *chain) index(at backup.LSN) int {
	return int(uint64(at)/uint64(c.head.SegmentSize) - c.head.FirstSegment().No)
}

// at returns the facts of the i-th segment.
func (c *chain) at(ctx context.Context, i int) (backup.Facts, error) {
	if f, ok := c.cache[i]; ok {
		return f, nil
	}
	var next *backup.Segment
	if i+1 < len(c.segments) {
		next = &c.segments[i+1]
	}
	f, err := c.facts(ctx, c.segments[i], next)
	if err != nil {
		return f, err
	}
	if len(c.cache) >= 8 { // a busy segment has tens of thousands of marks
		clear(c.cache)
	}
	c.cache[i] = f
	return f, nil
}

// find returns the first mark, from the i-th segment on and behind the backup's end, for which want says yes; nil where
// there is none.
func (c *chain) find(ctx context.Context, i int, want func(backup.Mark) bool) (*backup.Mark, error) {
	for i = max(i, c.index(c.head.StopLSN)); i < len(c.segments); i++ {
		f, err := c.at(ctx, i)
		if err != nil {
			return nil, err
		}
		for _, m := range f.Marks {
			if m.LSN >= c.head.StopLSN && want(m) {
				return &m, nil
			}
		}
	}
	return nil, nil
}

// findLast is find from the other end: the last mark below an LSN.
func (c *chain) findLast(ctx context.Context, below backup.LSN, want func(backup.Mark) bool) (*backup.Mark, error) {
	for i := min(c.index(below), len(c.segments)-1); i >= 0; i-- {
		f, err := c.at(ctx, i)
		if err != nil {
			return nil, err
		}
		for k := len(f.Marks) - 1; k >= 0; k-- {
			if m := f.Marks[k]; m.LSN < below && want(m) {
				return &m, nil
			}
		}
	}
	return nil, nil
}

func isEnd(m backup.Mark) bool    { return m.Kind != backup.MarkRestorePoint }
func isCommit(m backup.Mark) bool { return m.Kind == backup.MarkCommit }
