package page

import (
	"fmt"
	"strconv"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

func roleOf(r console.Role) theme.Role {
	switch r {
	case console.RoleStable:
		return theme.Stable
	case console.RoleCandidate:
		return theme.Candidate
	}
	return theme.Muted
}

// drawReleases draws the running releases and their share of the traffic.
func drawReleases(r widget.Region, c Context, list *widget.List, focus bool) {
	st := c.Snap.Status
	inner := widget.Panel{Title: "releases", State: strconv.Itoa(len(st.Releases)), Role: theme.Muted, Focus: focus}.Draw(r, c.G)
	if len(st.Releases) == 0 {
		hint(inner, "nothing runs yet: covetctl release add, then S starts a rollout")
		return
	}
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 1}, {Title: "RELEASE", Width: 10, Grow: true}, {Title: "ROLE", Width: 9, Rank: 2}, {Title: "TRAFFIC", Width: 15},
		{Title: "READY", Width: 7, Right: true}, {Title: "RST", Width: 4, Right: true, Rank: 4}, {Title: "REQ/S", Width: 6, Right: true, Rank: 3},
		{Title: "ERRORS", Width: 6, Right: true, Rank: 1}, {Title: "P95", Width: 6, Right: true, Rank: 2}, {Title: "CPU", Width: 5, Right: true, Rank: 6}, {Title: "MEMORY", Width: 6, Right: true, Rank: 6},
	}, inner.W)
	widget.Heads(inner, 0, slots, c.G)
	from, to := list.Fit(len(st.Releases), inner.H-1)
	for i := from; i < to; i++ {
		drawRelease(inner, 1+i-from, c, slots, st.Releases[i], focus && i == list.Cursor)
	}
}

func drawRelease(r widget.Region, y int, c Context, slots []widget.Slot, rel console.ReleaseStatus, chosen bool) {
	readyRole := theme.OK
	switch {
	case rel.Ready < rel.Wanted && rel.Ready == 0:
		readyRole = theme.Bad
	case rel.Ready < rel.Wanted:
		readyRole = theme.Warn
	}
	mark := ""
	if chosen {
		mark = c.G.Select
	}
	t := rel.Traffic
	cells := []struct {
		role theme.Role
		text string
	}{
		{theme.Accent, mark}, {roleOf(rel.Role), rel.Version}, {roleOf(rel.Role), string(rel.Role)}, {}, {readyRole, rel.Count()},
		{restartRole(rel.Restarts), strconv.Itoa(rel.Restarts)}, {theme.Text, rate.text(t)}, {errorRole(t.ErrorRate), failures.text(t)},
		{theme.Text, p95.text(t)}, {theme.Text, cpuShort.text(t)}, {theme.Text, memory.text(t)},
	}
	for _, s := range slots {
		if s.Title == "TRAFFIC" {
			r.Bar(s.X, y, s.Width-5, float64(rel.Weight)/100, roleOf(rel.Role), theme.Border, c.G)
			r.PutRight(s.X+s.Width, y, theme.Strong, strconv.Itoa(rel.Weight)+"%")
			continue
		}
		s.Cell(r, y, cells[s.Index].role, cells[s.Index].text, c.G)
	}
	if chosen {
		r.Choose(y)
	}
}

func restartRole(n int) theme.Role {
	if n > 0 {
		return theme.Warn
	}
	return theme.Text
}

func errorRole(share float64) theme.Role {
	switch {
	case share >= 0.05:
		return theme.Bad
	case share > 0:
		return theme.Warn
	}
	return theme.Text
}

// drawRolloutCard draws the rollout under way, or how the last one ended, in two rows.
func drawRolloutCard(r widget.Region, c Context, focus bool) {
	st := c.Snap.Status
	a, name := st.Rollout, "rollout"
	if a == nil {
		a, name = st.Last, "last rollout"
	}
	if a == nil {
		inner := widget.Panel{Title: "rollout", Focus: focus}.Draw(r, c.G)
		hint(inner, "none yet "+c.G.Dot+" 3 then S starts one")
		return
	}
	s := rolloutSign(a, c.G)
	inner := widget.Panel{
		Title: fmt.Sprintf("%s %s  %s  %s", name, a.ID, kind(a), move(a, c.G)), State: s.String(), Role: s.role, Note: "3 opens", Focus: focus,
	}.Draw(r, c.G)
	if a.Phase.Ended() {
		inner.PutCut(0, 0, inner.W, theme.Text, fmt.Sprintf("ended %s ago, after %s", widget.Age(c.Now.Sub(a.EndedAt)), widget.Age(a.EndedAt.Sub(a.StartedAt))), c.G.Ellipsis)
		inner.PutCut(0, 1, inner.W, theme.Muted, a.Message, c.G.Ellipsis)
		return
	}
	drawWeights(inner, 0, c, a)
	drawSteps(inner, 1, c, a)
	if inner.H > 3 {
		drawWhy(inner, 3, c, a)
	}
}

// drawWeights draws the candidate's share of the traffic as a bar with what comes next.
func drawWeights(r widget.Region, y int, c Context, a *rollout.Rollout) {
	weight := inForce(c, a)
	text := fmt.Sprintf("%3d%% new", weight)
	if a.Phase != rollout.Aborting && !a.Phase.Ended() && a.Step+1 < len(a.Steps) {
		text += fmt.Sprintf("   next %d%%", a.Steps[a.Step+1].Weight)
	}
	w := max(r.W-9-widget.Width(text)-2, 8)
	r.Put(0, y, theme.Muted, "traffic")
	r.Bar(9, y, w, float64(weight)/100, theme.Candidate, theme.Stable, c.G)
	r.Put(9+w+2, y, theme.Strong, text)
}

// inForce is the candidate's share as the balancer has it, not as it was asked for.
func inForce(c Context, a *rollout.Rollout) int {
	if a.Phase.Ended() {
		return a.Weight
	}
	return c.Snap.Status.Weights[a.To]
}

// drawSteps draws the steps in a row: done, the current one in brackets, those to come.
func drawSteps(r widget.Region, y int, c Context, a *rollout.Rollout) {
	r.Put(0, y, theme.Muted, "steps")
	x := 9
	from := 0
	if len(a.Steps) > 12 {
		from = min(max(a.Step-4, 0), len(a.Steps)-10)
	}
	if from > 0 {
		x = r.Put(x, y, theme.Muted, c.G.Ellipsis+" ")
	}
	for i := from; i < len(a.Steps) && x < r.W-6; i++ {
		x = drawStep(r, x, y, c, a, i)
	}
	if left := bakeLeft(a, c.Now); left != "" {
		r.Put(x, y, theme.Muted, left)
	}
}

func drawStep(r widget.Region, x, y int, c Context, a *rollout.Rollout, i int) int {
	text := strconv.Itoa(a.Steps[i].Weight) + "%"
	if a.Steps[i].Approve {
		text += c.G.Unknown
	}
	switch {
	case i < a.Step || a.Phase == rollout.Succeeded:
		return r.Put(x, y, theme.OK, text+c.G.OK+"  ")
	case i == a.Step && !a.Phase.Ended():
		s := rolloutSign(a, c.G)
		return r.Put(x, y, s.role, "["+text+" "+s.glyph+"]  ")
	}
	return r.Put(x, y, theme.Muted, text+"  ")
}

// bakeLeft says how long the current step is still watched.
func bakeLeft(a *rollout.Rollout, now time.Time) string {
	bake := a.Current().Bake.Std()
	if a.Phase != rollout.Baking || a.Paused || bake == 0 {
		return ""
	}
	return widget.Age(max(a.PhaseAt.Add(bake).Sub(now), 0)) + " left"
}

// drawWhy says why the rollout stands as it does.
func drawWhy(r widget.Region, y int, c Context, a *rollout.Rollout) {
	why := a.Message
	switch {
	case a.Paused:
		why = fmt.Sprintf("paused by %s %s ago", a.PausedBy, widget.Age(c.Now.Sub(a.PausedAt)))
	case why == "":
		why = fmt.Sprintf("%s for %s", a.Phase, widget.Age(c.Now.Sub(a.PhaseAt)))
	}
	r.Put(0, y, theme.Muted, "now")
	r.PutCut(9, y, r.W-9, theme.Text, why, c.G.Ellipsis)
}

// drawHuman draws what waits for a person: open incidents, rollouts that ask, problems of the service itself.
func drawHuman(r widget.Region, c Context, focus bool) {
	st := c.Snap.Status
	type item struct {
		role       theme.Role
		head, tail string
	}
	var items []item
	for _, i := range st.Incidents {
		tail := i.Action
		if i.Approver != "" {
			tail += " " + c.G.Dot + " " + i.Approver
		}
		if d := due(i, c.Now, widget.Age); d != "" {
			tail += " " + c.G.Dot + " " + d
		}
		items = append(items, item{severityRole(i.Severity), severityWord(i.Severity, c.G) + " " + i.Reason, tail + " " + c.G.Arrow + " 5"})
	}
	if a := st.Rollout; a != nil && (a.Phase == rollout.Waiting || a.Contained || a.Paused) {
		s := rolloutSign(a, c.G)
		items = append(items, item{s.role, fmt.Sprintf("%s %s %s", s.glyph, a.ID, s.word), "promote or abort " + c.G.Arrow + " 3"})
	}
	for _, p := range st.Problems {
		items = append(items, item{theme.Warn, c.G.Warn + " " + p, ""})
	}
	p := widget.Panel{Title: "needs a human", State: strconv.Itoa(len(items)), Role: theme.Bad, Focus: focus}
	if len(items) == 0 {
		p.State, p.Role = c.G.OK+" nothing", theme.OK
	}
	inner := p.Draw(r, c.G)
	y := 0
	for _, it := range items {
		inner.PutCut(0, y, inner.W, it.role, it.head, c.G.Ellipsis)
		y++
		if it.tail != "" && y < inner.H {
			inner.PutCut(2, y, inner.W-2, theme.Muted, it.tail, c.G.Ellipsis)
			y++
		}
	}
	if len(items) == 0 {
		inner.PutCut(0, 0, inner.W, theme.Muted, "no incident is open and no rollout waits for a decision", c.G.Ellipsis)
	}
}

// drawEvents draws the newest events.
func drawEvents(r widget.Region, c Context, focus bool) {
	inner := widget.Panel{Title: "events", Note: "8 opens", Focus: focus}.Draw(r, c.G)
	if len(c.Snap.Audit) == 0 {
		hint(inner, "nothing has happened yet")
	}
	for y, e := range c.Snap.Audit {
		if y >= inner.H {
			return
		}
		drawEvent(inner, y, c, e, true)
	}
}

// drawEvent draws one event on a row: time, sign, what about, what.
func drawEvent(r widget.Region, y int, c Context, e console.AuditEntry, subject bool) {
	glyph, role := eventSign(e.Kind, e.Text, c.G)
	x := r.Put(0, y, theme.Muted, stamp(e.At, c.Now)+" ")
	x = r.Put(x, y, role, glyph+" ")
	if subject && r.W > 60 {
		r.PutCut(x, y, 10, theme.Muted, e.Subject, c.G.Ellipsis)
		x += 11
	}
	x = r.PutCut(x, y, r.W-x, roleIf(role == theme.Muted, theme.Text, role), e.Text, c.G.Ellipsis)
	if by := " " + c.G.Dot + " " + e.By; x+widget.Width(by) <= r.W && e.By != "" {
		r.Put(x, y, theme.Muted, by)
	}
}

func roleIf(cond bool, a, b theme.Role) theme.Role {
	if cond {
		return a
	}
	return b
}

// stamp is the time of day in UTC, with the date where it was another day.
func stamp(at, now time.Time) string {
	at, now = at.UTC(), now.UTC()
	if now.Sub(at) < 20*time.Hour {
		return at.Format("15:04:05")
	}
	return at.Format("Jan _2 15:04")
}

// drawTroubled draws the instances that are not as they should be.
func drawTroubled(r widget.Region, c Context, table *Instances) {
	bad := 0
	for _, i := range c.Snap.Instances {
		if i.State != rollout.Ready {
			bad++
		}
	}
	p := widget.Panel{Title: "instances", State: fmt.Sprintf("%d of %d not ready", bad, len(c.Snap.Instances)), Role: theme.Warn, Note: "2 opens"}
	if bad == 0 {
		p.State, p.Role = fmt.Sprintf("%s all %d ready", c.G.OK, len(c.Snap.Instances)), theme.OK
	}
	table.plain(p.Draw(r, c.G), c)
}
