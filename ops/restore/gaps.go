package restore

import "github.com/covetpy/covet/ops/backup"

// Gap is a run of WAL segments that aren't in the repository though later ones are: no backup before it can be restored
// to a point behind it.
type Gap struct {
	Timeline backup.Timeline `json:"timeline"`
	First    string          `json:"first"`
	Last     string          `json:"last"`
	Segments int             `json:"segments"`
}

// Gaps finds the holes in the log, on the way to the newest timeline, from the oldest backup's start on.
func Gaps(heads []backup.Head, a *backup.Archived) ([]Gap, error) {
	if len(heads) == 0 {
		return nil, nil
	}
	own := a.Newest()
	first := heads[0].FirstSegment().No
	for _, h := range heads {
		own = max(own, h.Timeline)
		first = min(first, h.FirstSegment().No)
	}
	history, err := a.History(own)
	if err != nil {
		return nil, err
	}
	r := route{own: own, history: history, size: heads[0].SegmentSize}
	var out []Gap
	inside := false
	for no := first; later(r, a, no-1); no++ {
		if _, ok := pick(r, a, no); ok {
			inside = false
			continue
		}
		s := backup.Segment{Timeline: r.candidates(no)[0], No: no}
		if !inside {
			out = append(out, Gap{Timeline: s.Timeline, First: s.Name(r.size)})
		}
		inside = true
		g := &out[len(out)-1]
		g.Last = s.Name(r.size)
		g.Segments++
	}
	return out, nil
}
