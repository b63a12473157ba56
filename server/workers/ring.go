package workers

import "sort"

// ring holds the last lines of a log, up to a number of bytes.
type ring struct {
	lines   []LogLine
	bytes   int
	evicted int64 // Seq of the newest line that had to go
}

const lineOverhead = 120 // bytes that a LogLine takes beside its text, about

func (r *ring) add(l LogLine, limit int) {
	r.lines = append(r.lines, l)
	r.bytes += len(l.Text) + lineOverhead
	for r.bytes > limit && len(r.lines) > 1 {
		r.bytes -= len(r.lines[0].Text) + lineOverhead
		r.evicted = r.lines[0].Seq
		r.lines[0] = LogLine{}
		r.lines = r.lines[1:]
	}
}

// after returns the lines with a higher Seq. They are only valid while the ring is not changed.
func (r *ring) after(seq int64) []LogLine {
	i := sort.Search(len(r.lines), func(i int) bool { return r.lines[i].Seq > seq })
	return r.lines[i:]
}
