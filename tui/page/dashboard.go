package page

import (
	"fmt"

	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Dashboard is the service at a glance.
type Dashboard struct {
	panes
	releases  widget.List
	instances *Instances
}

// NewDashboard makes the page.
func NewDashboard() *Dashboard {
	return &Dashboard{panes: panes{count: 5, focus: 1}, instances: NewInstances()}
}

// Filter does nothing: the dashboard shows all there is.
func (d *Dashboard) Filter(string) {}

// Key moves between panels and releases.
func (d *Dashboard) Key(key string, c Context) bool {
	return d.key(key) || c.Snap.Status != nil && d.releases.Key(key, len(c.Snap.Status.Releases), 5)
}

// Open is where enter leads from the panel that has the keys: a page, and what it is to show.
func (d *Dashboard) Open(c Context) (name, filter string) {
	switch d.focus {
	case 1:
		return "instances", d.Selection(c).Release
	case 2:
		return "rollouts", ""
	case 3:
		return "incidents", ""
	case 4:
		return "audit", ""
	}
	return "", ""
}

// Selection is the release under the cursor.
func (d *Dashboard) Selection(c Context) action.Selection {
	var s action.Selection
	if st := c.Snap.Status; st != nil {
		if len(st.Releases) > 0 {
			s.Release = st.Releases[min(d.releases.Cursor, len(st.Releases)-1)].Version
		}
		if a := c.Snap.Active(); a != nil {
			s.Rollout = a.ID
		}
	}
	return s
}

// Draw draws the page.
func (d *Dashboard) Draw(r widget.Region, c Context) {
	if !d.zoomed && !Small(r) && looksAfterBackups(c) {
		drawRecoveryLine(r.Sub(0, r.H-1, r.W, 1), c)
		r = r.Sub(0, 0, r.W, r.H-1)
	}
	switch {
	case d.zoomed:
		d.panel(r, c, d.focus)
	case Small(r):
		d.small(r, c)
	case Wide(r):
		d.wide(r, c)
	default:
		d.column(r, c)
	}
}

// panel draws one of the panels by its number.
func (d *Dashboard) panel(r widget.Region, c Context, n int) {
	if r.Empty() {
		return
	}
	focus := d.focus == n
	switch n {
	case 0:
		d.vitals(r, c, focus)
	case 1:
		drawReleases(r, c, &d.releases, focus)
	case 2:
		drawRolloutCard(r, c, focus)
	case 3:
		drawHuman(r, c, focus)
	case 4:
		drawEvents(r, c, focus)
	}
}

func (d *Dashboard) vitals(r widget.Region, c Context, focus bool) {
	if r.W >= 100 && r.H >= 10 {
		drawCharts(r, c, 1+r.H/20)
		return
	}
	from, to := window(c.Snap.Series)
	title := "vitals"
	if !from.IsZero() {
		title = fmt.Sprintf("vitals %s last %s", c.G.Dot, widget.Age(to.Sub(from)))
	}
	drawVitals(widget.Panel{Title: title, Foot: over(c), Focus: focus}.Draw(r, c.G), c)
}

func over(c Context) string {
	if _, yes := burning(c); yes {
		return c.G.Warn + " = the error budget burns too fast"
	}
	return ""
}

func (d *Dashboard) column(r widget.Region, c Context) {
	vitals := 7
	if r.W >= 100 && r.H >= 34 {
		vitals = 11
	}
	releases := min(max(len(c.Snap.Status.Releases), 1), 4) + 3
	heights := []int{vitals, releases, 4, r.H - vitals - releases - 4}
	if room := heights[3]; room >= 12 {
		heights[3] = max(min(len(c.Snap.Status.Incidents)*2+3, room/2), 5)
		heights = append(heights, room-heights[3])
	}
	for i, part := range stack(r, heights...) {
		d.panel(part, c, i)
	}
}

func (d *Dashboard) wide(r widget.Region, c Context) {
	charts := min(r.H/2, 28)
	left := r.W * 3 / 5
	drawCharts(r.Sub(0, 0, r.W, charts), c, 1+charts/20)
	rest := r.Sub(0, charts, r.W, r.H-charts)
	releases := min(max(len(c.Snap.Status.Releases), 1), 5) + 3
	l := stack(rest.Sub(0, 0, left, rest.H), releases, 7, 0)
	d.panel(l[0], c, 1)
	d.panel(l[1], c, 2)
	if !l[2].Empty() {
		drawTroubled(l[2], c, d.instances)
	}
	human := max(min(len(c.Snap.Status.Incidents)*2+3, rest.H/2), 6)
	rt := stack(rest.Sub(left, 0, r.W-left, rest.H), human, 0)
	d.panel(rt[0], c, 3)
	d.panel(rt[1], c, 4)
}

// small draws the least that a person needs.
func (d *Dashboard) small(r widget.Region, c Context) {
	st := c.Snap.Status
	t := st.Traffic
	role, _ := burning(c)
	y := 0
	line := func(role theme.Role, text string) {
		r.PutCut(0, y, r.W, role, text, c.G.Ellipsis)
		y++
	}
	line(role, fmt.Sprintf("%s req/s  err %s  p99 %s", rate.text(t), failures.text(t), p99.text(t)))
	for _, i := range st.Incidents {
		line(severityRole(i.Severity), severityWord(i.Severity, c.G)+" "+i.Reason)
	}
	if a := st.Rollout; a != nil {
		s := rolloutSign(a, c.G)
		line(s.role, fmt.Sprintf("%s %s %d%% %s", a.ID, move(a, c.G), a.Weight, s))
	}
	for _, rel := range st.Releases {
		line(theme.Text, fmt.Sprintf("%s %s %d%% %s ready", rel.Version, rel.Role, rel.Weight, rel.Count()))
	}
	if looksAfterBackups(c) && y < r.H {
		drawRecoveryLine(r.Sub(0, y, r.W, 1), c)
	}
}
