package restore

import (
	"context"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Span is a stretch of time, every moment of which can be restored to. It ends with the newest archived log; by the
// store's clock, which is the closest there is without reading the log.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Coverage works out which moments can be restored to: those between a backup and the end of the unbroken log behind it,
// on the way to the newest timeline. The spans are in order and don't touch.
func Coverage(heads []backup.Head, a *backup.Archived) ([]Span, error) {
	if len(heads) == 0 {
		return nil, nil
	}
	in := Input{Heads: heads, Archived: a}
	chains, _, err := in.chains()
	if err != nil {
		return nil, err
	}
	var spans []Span
	for _, c := range slices.Backward(chains) {
		if c.whole() {
			spans = append(spans, Span{From: c.head.Stopped, To: c.until(a)})
		}
	}
	return join(spans), nil
}

// until is when the last segment of the chain was archived.
func (c *chain) until(a *backup.Archived) time.Time {
	to := c.head.Stopped
	if got, ok := a.Find(c.segments[len(c.segments)-1]); ok && got.Modified.After(to) {
		to = got.Modified
	}
	return to
}

// join merges spans, in the order of their beginnings, that overlap.
func join(spans []Span) []Span {
	slices.SortFunc(spans, func(x, y Span) int { return x.From.Compare(y.From) })
	var out []Span
	for _, s := range spans {
		if n := len(out); n > 0 && !s.From.After(out[n-1].To) {
			if s.To.After(out[n-1].To) {
				out[n-1].To = s.To
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// Durable is the newest point that a restore can reach.
type Durable struct {
	Backup backup.Head `json:"backup"` // that it starts from
	LSN    backup.LSN  `json:"lsn"`    // up to which the log is there
	// Last is the last transaction that ended before it; nil where none has since the backup. Its XID is the highest there.
	Last     *Point `json:"last,omitempty"`
	Segments int    `json:"segments"` // between the backup and the point
	WALBytes int64  `json:"wal_bytes"`
}

// Newest finds the newest point that a restore without a target would reach, had the log no gap behind it; nil where there
// is no whole backup.
func Newest(ctx context.Context, heads []backup.Head, a *backup.Archived, facts FactsFunc) (*Durable, error) {
	if len(heads) == 0 {
		return nil, nil
	}
	in := Input{Heads: heads, Archived: a, Facts: facts}
	chains, _, err := in.chains()
	if err != nil {
		return nil, err
	}
	for _, c := range chains {
		if !c.whole() {
			continue
		}
		d := &Durable{Backup: c.head, LSN: c.reached(a), Segments: len(c.segments)}
		for _, s := range c.segments {
			if got, ok := a.Find(s); ok {
				d.WALBytes += got.Size
			}
		}
		d.Last, err = point(c.findLast(ctx, c.end(), isEnd))
		return d, err
	}
	return nil, nil
}

// reached is the LSN up to which there is log: the last segment may be there only in part.
func (c *chain) reached(a *backup.Archived) backup.LSN {
	last := c.segments[len(c.segments)-1]
	got, ok := a.Find(last)
	if !ok || !got.Live {
		return c.end()
	}
	return backup.LSN(last.No*uint64(c.head.SegmentSize)) + backup.LSN(got.LiveLength())
}
