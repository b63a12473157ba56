package page

import (
	"fmt"
	"strconv"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// drawCompare draws the old release's numbers beside the new one's.
func drawCompare(r widget.Region, c Context, a *rollout.Rollout, focus bool) {
	old, candidate := find(c, a.From), find(c, a.To)
	p := widget.Panel{Title: "old against new", Focus: focus}
	if a.Phase.Ended() {
		p.State, p.Role = "now, after it ended", theme.Muted
	}
	if v := c.Snap.Status.Health.Candidate; v != health.None && !a.Phase.Ended() {
		p.State, p.Role = c.G.Warn+" candidate "+string(v), severityRole(v)
	}
	inner := p.Draw(r, c.G)
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 9}, {Title: or(a.From, "nothing"), Width: 14, Right: true}, {Title: a.To, Width: 14, Right: true}, {Title: "DIFFERENCE", Width: 14, Right: true, Rank: 1},
	}, inner.W)
	for i, s := range slots {
		role := []theme.Role{theme.Muted, theme.Stable, theme.Candidate, theme.Muted}[s.Index]
		slots[i].Cell(inner, 0, role, s.Title, c.G)
	}
	y := 1
	for _, m := range []measure{rate, failures, p99, p95, p50} {
		if y >= inner.H {
			return
		}
		texts := []string{m.name, told(old, m), told(candidate, m), difference(old, candidate, m)}
		for _, s := range slots {
			role := theme.Text
			if s.Index == 0 || s.Index == 3 {
				role = theme.Muted
			}
			s.Cell(inner, y, role, texts[s.Index], c.G)
		}
		y++
	}
	drawRestarts(inner, y, slots, old, candidate, c)
}

func drawRestarts(r widget.Region, y int, slots []widget.Slot, old, candidate *console.ReleaseStatus, c Context) {
	for _, s := range slots {
		switch s.Index {
		case 0:
			s.Cell(r, y, theme.Muted, "restarts", c.G)
		case 1, 2:
			rel := []*console.ReleaseStatus{old, candidate}[s.Index-1]
			if rel != nil {
				s.Cell(r, y, restartRole(rel.Restarts), strconv.Itoa(rel.Restarts), c.G)
			}
		}
	}
}

func find(c Context, version string) *console.ReleaseStatus {
	for i := range c.Snap.Status.Releases {
		if c.Snap.Status.Releases[i].Version == version {
			return &c.Snap.Status.Releases[i]
		}
	}
	return nil
}

func told(r *console.ReleaseStatus, m measure) string {
	if r == nil {
		return "not running"
	}
	return m.text(r.Traffic)
}

// difference says how much higher the new release's number is: a factor, or the distance where the old one is nothing.
func difference(old, candidate *console.ReleaseStatus, m measure) string {
	if old == nil || candidate == nil || m.name == rate.name { // rates differ by the weights alone
		return ""
	}
	if !m.known(old.Traffic) || !m.known(candidate.Traffic) {
		return "not measured"
	}
	a, b := m.value(old.Traffic), m.value(candidate.Traffic)
	switch {
	case a == b:
		return "same"
	case a == 0:
		return "+" + m.format(b)
	case b == 0:
		return "none yet"
	}
	if d := (b - a) / a * 100; d < 1000 {
		return fmt.Sprintf("%+.0f%%", d)
	}
	return widget.Short(b/a) + " times"
}

// drawEvidence draws what the decision matrix looked at, and what it says.
func drawEvidence(r widget.Region, c Context) {
	h := c.Snap.Status.Health
	worst := h.Service
	if h.Candidate.Worse(worst) {
		worst = h.Candidate
	}
	inner := widget.Panel{Title: "decision matrix", State: severityWord(worst, c.G), Role: severityRole(worst)}.Draw(r, c.G)
	y := 0
	if h.Decision.Action != "" {
		inner.PutCut(0, 0, inner.W, severityRole(worst), h.Decision.Action, c.G.Ellipsis)
		y = 1
	}
	drawRows(inner.Sub(0, y, inner.W, inner.H-y), c, h.Decision.Rows)
}

// drawRows draws rows of evidence: value, limit, verdict.
func drawRows(r widget.Region, c Context, rows []health.Row) {
	if len(rows) == 0 {
		r.Put(0, 0, theme.Muted, "no evidence: nothing was measured, or a person declared it")
		return
	}
	slots := widget.Layout([]widget.Column{
		{Title: "ARM", Width: 9, Rank: 1}, {Title: "SIGNAL", Width: 16, Grow: true}, {Title: "VALUE", Width: 14, Right: true}, {Title: "LIMIT", Width: 14, Right: true, Rank: 2}, {Title: "VERDICT", Width: 8},
	}, r.W)
	widget.Heads(r, 0, slots, c.G)
	for i, row := range rows {
		texts := []string{row.Arm, row.Signal, row.Value, row.Limit, severityWord(row.Severity, c.G)}
		for _, s := range slots {
			role := theme.Text
			if s.Index == 4 || s.Index == 2 && row.Severity != health.None {
				role = severityRole(row.Severity)
			}
			s.Cell(r, 1+i, role, texts[s.Index], c.G)
		}
	}
}
