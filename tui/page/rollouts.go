package page

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Rollouts shows a rollout: how far it is, the old release against the new, and what happened; and the history.
type Rollouts struct {
	panes
	list   widget.List
	height int
	filter string
	scroll widget.List // of the timeline
}

// The panels of the page.
const (
	paneProgress = iota
	paneCompare
	paneTimeline
	paneHistory
)

// NewRollouts makes the page.
func NewRollouts() *Rollouts { return &Rollouts{panes: panes{count: 4, focus: paneHistory}} }

// Filter shows only rollouts in which the text occurs.
func (p *Rollouts) Filter(text string) { p.filter = strings.ToLower(text) }

func (p *Rollouts) rows(c Context) []*rollout.Rollout {
	var out []*rollout.Rollout
	active := c.Snap.Active()
	if active != nil {
		out = append(out, active)
	}
	for i := range c.Snap.Rollouts {
		r := &c.Snap.Rollouts[i]
		if active != nil && r.ID == active.ID {
			continue
		}
		out = append(out, r)
	}
	if p.filter == "" {
		return out
	}
	kept := out[:0]
	for _, r := range out {
		text := strings.ToLower(strings.Join([]string{r.ID, r.From, r.To, string(r.Phase), r.By, r.Reason, r.Message}, " "))
		if strings.Contains(text, p.filter) {
			kept = append(kept, r)
		}
	}
	return kept
}

func (p *Rollouts) selected(c Context) *rollout.Rollout {
	rows := p.rows(c)
	if len(rows) == 0 {
		return nil
	}
	return rows[min(max(p.list.Cursor, 0), len(rows)-1)]
}

// Selection is the rollout under the cursor.
func (p *Rollouts) Selection(c Context) action.Selection {
	if r := p.selected(c); r != nil {
		return action.Selection{Rollout: r.ID, Release: r.To}
	}
	return action.Selection{}
}

// Key moves between panels and rollouts.
func (p *Rollouts) Key(key string, c Context) bool {
	if p.key(key) {
		return true
	}
	if p.focus == paneTimeline {
		return p.scroll.Key(key, len(c.Snap.Timeline.Events), p.height)
	}
	return p.list.Key(key, len(p.rows(c)), p.height)
}

// Draw draws the page.
func (p *Rollouts) Draw(r widget.Region, c Context) {
	sel := p.selected(c)
	switch {
	case Small(r):
		p.small(r, c, sel)
	case sel == nil:
		inner := widget.Panel{Title: "rollouts", Focus: true}.Draw(r, c.G)
		if p.filter != "" {
			hint(inner, "no rollout has "+strconv.Quote(p.filter)+" in it "+c.G.Dot+" esc shows all")
			return
		}
		hint(inner, "there has been no rollout yet", "", "p plans one without changing anything", "S starts one (w turns writing on first)")
	case p.zoomed:
		p.panel(r, c, sel, p.focus)
	case Wide(r):
		p.wide(r, c, sel)
	default:
		p.column(r, c, sel)
	}
}

func (p *Rollouts) panel(r widget.Region, c Context, sel *rollout.Rollout, n int) {
	if r.Empty() {
		return
	}
	focus := p.focus == n
	switch n {
	case paneProgress:
		drawProgress(r, c, sel, focus)
	case paneCompare:
		drawCompare(r, c, sel, focus)
	case paneTimeline:
		p.timeline(r, c, sel, focus)
	case paneHistory:
		p.history(r, c, focus)
	}
}

func (p *Rollouts) column(r widget.Region, c Context, sel *rollout.Rollout) {
	progress, compare := 7, 7
	rest := r.H - progress - compare
	if rest < 10 { // room for one more panel: the one that has the keys
		last := paneTimeline
		if p.focus == paneHistory {
			last = paneHistory
		}
		parts := stack(r, progress, compare, rest)
		p.panel(parts[0], c, sel, paneProgress)
		p.panel(parts[1], c, sel, paneCompare)
		p.panel(parts[2], c, sel, last)
		return
	}
	for i, part := range stack(r, progress, compare, rest/2, rest-rest/2) {
		p.panel(part, c, sel, i)
	}
}

func (p *Rollouts) wide(r widget.Region, c Context, sel *rollout.Rollout) {
	parts := stack(r, 7, min(r.H/4, 14), 9, 0)
	p.panel(parts[0], c, sel, paneProgress)
	if !parts[1].Empty() {
		graphs := []graph{versus(c, rate, sel.From, sel.To), versus(c, failures, sel.From, sel.To), versus(c, p95, sel.From, sel.To), versus(c, cpu, sel.From, sel.To)}
		for i, g := range graphs {
			x, next := i*r.W/4, (i+1)*r.W/4
			g.draw(parts[1].Sub(x, 0, next-x, parts[1].H), c)
		}
	}
	half := r.W / 2
	p.panel(parts[2].Sub(0, 0, half, parts[2].H), c, sel, paneCompare)
	drawEvidence(parts[2].Sub(half, 0, r.W-half, parts[2].H), c)
	p.panel(parts[3].Sub(0, 0, half, parts[3].H), c, sel, paneTimeline)
	p.panel(parts[3].Sub(half, 0, r.W-half, parts[3].H), c, sel, paneHistory)
}

func (p *Rollouts) small(r widget.Region, c Context, sel *rollout.Rollout) {
	if sel == nil {
		r.Put(0, 0, theme.Muted, "there has been no rollout yet")
		return
	}
	s := rolloutSign(sel, c.G)
	r.PutCut(0, 0, r.W, s.role, fmt.Sprintf("%s %s %d%% %s", sel.ID, move(sel, c.G), inForce(c, sel), s), c.G.Ellipsis)
	if r.H > 1 {
		drawSteps(r, 1, c, sel)
	}
	if r.H > 3 {
		p.table(r.Sub(0, 2, r.W, r.H-2), c, true)
	}
}

// drawProgress draws how far a rollout is and what it costs to go back.
func drawProgress(r widget.Region, c Context, a *rollout.Rollout, focus bool) {
	s := rolloutSign(a, c.G)
	title := fmt.Sprintf("%s  %s  %s", a.ID, move(a, c.G), kind(a))
	if !a.Phase.Ended() && len(a.Steps) > 1 {
		title += fmt.Sprintf("  step %d/%d", a.Step+1, len(a.Steps))
	}
	inner := widget.Panel{Title: title, State: s.String(), Role: s.role, Note: "by " + a.By, Focus: focus}.Draw(r, c.G)
	drawWeights(inner, 0, c, a)
	drawSteps(inner, 1, c, a)
	drawReady(inner, 2, c, a)
	if a.Phase.Ended() {
		inner.Put(0, 3, theme.Muted, "ended")
		inner.PutCut(9, 3, inner.W-9, theme.Text, fmt.Sprintf("%s ago, after %s%s", widget.Age(c.Now.Sub(a.EndedAt)), widget.Age(a.EndedAt.Sub(a.StartedAt)), because(a.Message)), c.G.Ellipsis)
		inner.Put(0, 4, theme.Muted, "reason")
		inner.PutCut(9, 4, inner.W-9, theme.Text, or(a.Reason, "none was given"), c.G.Ellipsis)
		return
	}
	drawWhy(inner, 3, c, a)
	inner.Put(0, 4, theme.Muted, "undo")
	inner.PutCut(9, 4, inner.W-9, theme.Text, undo(a), c.G.Ellipsis)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// undo says what going back costs just now.
func undo(a *rollout.Rollout) string {
	switch {
	case a.From == "":
		return "there is nothing to go back to: nothing served before"
	case a.Phase == rollout.Aborting:
		return "all traffic is going back to " + a.From
	case a.Strategy == rollout.Rolling:
		return fmt.Sprintf("abort: seconds, instances of %s that were stopped start again first", a.From)
	}
	return fmt.Sprintf("abort: under 2 s, %s is still running; no data is lost", a.From)
}

func drawReady(r widget.Region, y int, c Context, a *rollout.Rollout) {
	r.Put(0, y, theme.Muted, "ready")
	x := 9
	for _, rel := range c.Snap.Status.Releases {
		if rel.Version != a.From && rel.Version != a.To {
			continue
		}
		name, role := "old", theme.Stable
		if rel.Version == a.To {
			name, role = "new", theme.Candidate
		}
		x = r.Put(x, y, role, fmt.Sprintf("%s %s %s", name, rel.Version, rel.Count()))
		x = r.Put(x, y, theme.Text, "   ")
	}
	if x == 9 {
		r.Put(x, y, theme.Muted, "neither release runs any more")
	}
}

// history draws the list of rollouts.
func (p *Rollouts) history(r widget.Region, c Context, focus bool) {
	inner := widget.Panel{Title: "rollouts", State: strconv.Itoa(len(p.rows(c))), Role: theme.Muted, Note: "tab: timeline", Focus: focus}.Draw(r, c.G)
	p.table(inner, c, focus)
}

func (p *Rollouts) table(r widget.Region, c Context, focus bool) {
	rows := p.rows(c)
	p.height = r.H
	from, to := p.list.Fit(len(rows), r.H)
	version := 10
	for _, a := range rows[from:to] {
		version = max(version, widget.Width(a.From), widget.Width(a.To))
	}
	version = min(version, 20)
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 1}, {Title: "ID", Width: 6}, {Title: "KIND", Width: 10, Rank: 2}, {Title: "FROM", Width: version, Rank: 3}, {Title: "TO", Width: version},
		{Title: "STATE", Width: 13}, {Title: "BY", Width: 8, Rank: 4}, {Title: "AGO", Width: 6, Right: true, Rank: 3}, {Title: "WHY", Width: 14, Rank: 5, Grow: true},
	}, r.W)
	for i := from; i < to; i++ {
		a, y := rows[i], i-from
		s := rolloutSign(a, c.G)
		mark := ""
		if i == p.list.Cursor {
			mark = c.G.Select
		}
		texts := []string{mark, a.ID, kind(a), or(a.From, "nothing"), a.To, s.String(), a.By, since(a.StartedAt, c.Now), or(a.Message, a.Reason)}
		for _, slot := range slots {
			role := theme.Text
			if slot.Title == "STATE" {
				role = s.role
			}
			slot.Cell(r, y, role, texts[slot.Index], c.G)
		}
		if focus && i == p.list.Cursor {
			r.Choose(y)
		}
	}
}

// timeline draws what happened to the selected rollout, newest first.
func (p *Rollouts) timeline(r widget.Region, c Context, sel *rollout.Rollout, focus bool) {
	t := c.Snap.Timeline
	inner := widget.Panel{Title: "timeline of " + sel.ID, Note: "tab: rollouts", Focus: focus}.Draw(r, c.G)
	p.height = inner.H
	if t.Rollout.ID != sel.ID {
		hint(inner, "asking"+c.G.Ellipsis)
		return
	}
	n := len(t.Events)
	from, to := p.scroll.Fit(n, inner.H)
	for i := from; i < to; i++ {
		drawEvent(inner, i-from, c, t.Events[n-1-i], false)
		if focus && i == p.scroll.Cursor {
			inner.Choose(i - from)
		}
	}
}
