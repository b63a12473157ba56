package page

import (
	"cmp"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// timeline is a stretch of time over w columns, each of which stands for the same length.
type timeline struct {
	from, to time.Time
	w        int
}

// at is when a column begins.
func (t timeline) at(x int) time.Time {
	return t.from.Add(time.Duration(float64(t.to.Sub(t.from)) * float64(x) / float64(max(t.w, 1))))
}

// column is the one that a moment lies in, -1 where none does.
func (t timeline) column(at time.Time) int {
	if t.w <= 0 || at.Before(t.from) || at.After(t.to) || !t.to.After(t.from) {
		return -1
	}
	return min(int(float64(at.Sub(t.from))/float64(t.to.Sub(t.from))*float64(t.w)), t.w-1)
}

// ways in which a column's stretch of time can be restored to.
type reach int

const (
	outside reach = iota // before the oldest backup, or in the future
	covered              // every moment of it
	holed                // not every moment, though later ones can
	pending              // it has not reached the archive
)

// reaches tells of each column whether it can be restored to. A hole of any size shows.
func (t timeline) reaches(p *recovery.Posture, now time.Time) []reach {
	out := make([]reach, max(t.w, 0))
	if len(p.Coverage) == 0 {
		return out
	}
	first, last := p.Coverage[0].From, p.Coverage[len(p.Coverage)-1].To
	for x := range out {
		from, to := t.at(x), t.at(x+1)
		if from.Before(first) {
			from = first
		}
		if to.After(now) {
			to = now
		}
		switch {
		case !to.After(from):
			continue
		case !from.Before(last):
			out[x] = pending
			continue
		case to.After(last):
			to = last
		}
		out[x] = holed
		if slices.ContainsFunc(p.Coverage, func(s restore.Span) bool { return !from.Before(s.From) && !to.After(s.To) }) {
			out[x] = covered
		}
	}
	return out
}

// marker is something that happened, which a person may want to go back to just before.
type marker struct {
	at   time.Time
	sign string // one letter
	text string
	role theme.Role
	rank int // of several in one column the highest is drawn
}

// markers are the backups and what changed the service, the oldest first.
func markers(c Context) []marker {
	var out []marker
	for _, b := range c.Snap.Recovery.Backups {
		m := marker{at: b.Stopped, sign: "B", text: "the end of backup " + b.ID, role: theme.Info}
		if b.Verified != nil {
			_, m.role = readBack(b.Verified, c)
		}
		out = append(out, m)
	}
	for i := range c.Snap.Rollouts {
		r := &c.Snap.Rollouts[i]
		m := marker{at: r.StartedAt, sign: "D", text: "the deployment of " + r.To, role: theme.Accent, rank: 2}
		if r.Purpose == rollout.Rollback {
			m.sign, m.text, m.role, m.rank = "R", "the rollback to "+r.To, theme.Warn, 1
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b marker) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.rank, b.rank)) })
	return out
}

// steps between the labels of a time axis.
var axisSteps = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour,
	12 * time.Hour, 24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour, 364 * 24 * time.Hour,
}

// axis draws times above their columns, in UTC.
func (t timeline) axis(r widget.Region, x, y int) {
	const apart = 12
	if t.w < apart {
		return
	}
	per := t.to.Sub(t.from) / time.Duration(t.w)
	step := axisSteps[len(axisSteps)-1]
	for _, s := range axisSteps {
		if s >= per*apart {
			step = s
			break
		}
	}
	layout := "15:04:05"
	switch {
	case step >= 24*time.Hour:
		layout = "02 Jan"
	case step >= time.Minute && t.to.Sub(t.from) > 20*time.Hour:
		layout = "02 15:04"
	case step >= time.Minute:
		layout = "15:04"
	}
	for at := t.from.Truncate(step).Add(step); !at.After(t.to); at = at.Add(step) {
		text := at.UTC().Format(layout)
		if col := t.column(at); col >= 0 && col+widget.Width(text) <= t.w {
			r.Put(x+col, y, theme.Muted, text)
		}
	}
}

// drawReach draws what can be restored to.
func (t timeline) drawReach(r widget.Region, x, y int, c Context) {
	for i, way := range t.reaches(c.Snap.Recovery, c.Now) {
		switch way {
		case covered:
			r.Put(x+i, y, theme.OK, c.G.Full)
		case holed:
			r.Put(x+i, y, theme.Bad, c.G.Empty)
		case pending:
			r.Put(x+i, y, theme.Warn, c.G.Limit)
		case outside:
		}
	}
}

// drawMarkers draws what happened when.
func (t timeline) drawMarkers(r widget.Region, x, y int, ms []marker) {
	best := map[int]int{}
	for _, m := range ms {
		col := t.column(m.at)
		if rank, taken := best[col]; col < 0 || taken && rank > m.rank {
			continue
		}
		best[col] = m.rank
		r.Put(x+col, y, m.role, m.sign)
	}
}

// drawErrors draws the share of failed requests, as far as it is known.
func (t timeline) drawErrors(r widget.Region, x, y int, c Context) {
	top := make([]float64, max(t.w, 0))
	for _, p := range c.Snap.Series.Total {
		if col := t.column(p.At); col >= 0 {
			top[col] = max(top[col], p.ErrorRate)
		}
	}
	for col, share := range top {
		if share <= 0 {
			continue
		}
		level := min(int(share*10*float64(len(c.G.Levels)-1))+1, len(c.G.Levels)-1) // a tenth of all is the top
		r.Put(x+col, y, errorRole(share), c.G.Levels[level])
	}
}

// legend says what the signs mean, as far as there is room.
func (t timeline) legend(r widget.Region, x, y int, c Context) {
	for _, l := range []struct {
		sign, text string
		role       theme.Role
	}{{c.G.Full, "can be restored to", theme.OK}, {c.G.Empty, "gap", theme.Bad}, {c.G.Limit, "not archived yet", theme.Warn}, {"B", "backup", theme.Info}, {"D", "deployment", theme.Accent}, {"R", "rollback", theme.Warn}} {
		if x+widget.Width(l.text)+4 > r.W {
			return
		}
		x = r.Put(x, y, l.role, l.sign) + 1
		x = r.Put(x, y, theme.Muted, l.text) + 2
	}
}
