package workers

import "sort"

// ring holds the last lines of a log, up to a number of bytes.
type ring struct {
	lines   []LogLine
	head    int // the lines before it are gone
	bytes   int
	evicted int64 // Seq of the newest line that had to go
}

const lineOverhead = 120 // bytes that a LogLine takes beside its text, about

func (r *ring) add(l LogLine, limit int) {
	if r.head > len(r.lines)/2 { // moving few down for many that came: no line is moved often
		n := copy(r.lines, r.lines[r.head:])
		clear(r.lines[n:])
		r.lines, r.head = r.lines[:n], 0
	}
	r.lines = append(r.lines, l)
	r.bytes += len(l.Text) + lineOverhead
	for r.bytes > limit && len(r.lines)-r.head > 1 {
		old := &r.lines[r.head]
		r.bytes -= len(old.Text) + lineOverhead
		r.evicted = old.Seq
		*old = LogLine{}
		r.head++
	}
}

// after returns the lines with a higher Seq. They are only valid while the ring is not changed.
func (r *ring) after(seq int64) []LogLine {
	live := r.lines[r.head:]
	return live[sort.Search(len(live), func(i int) bool { return live[i].Seq > seq }):]
}
