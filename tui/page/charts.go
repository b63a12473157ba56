package page

import (
	"fmt"
	"strconv"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/chart"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// graph is a chart in a panel.
type graph struct {
	title string
	note  string
	lines []chart.Line
	names []string // of the lines, where there are several
	unit  measure
}

// draw draws the graph of the time that the page shows.
func (g graph) draw(r widget.Region, c Context) {
	inner := widget.Panel{Title: g.title, Foot: g.note}.Draw(r, c.G)
	x := 1
	for i, name := range g.names {
		x = r.Put(x, r.H-1, g.lines[i].Role, " "+chart.Mark(g.lines[i].Role, c.G)+" "+widget.Cut(name, 16, c.G.Ellipsis)+" ")
	}
	from, to := window(c.Snap.Series)
	if from.IsZero() {
		hint(inner, "nothing measured yet")
		return
	}
	least := 0.0
	if g.unit.name == failures.name {
		least = 0.004
	}
	chart.Draw(inner, chart.Spec{Least: least, Lines: g.lines, From: from, To: to, Step: step(c.Snap.Series), Format: axis(g.unit), Binary: g.unit.name == memory.name}, c.G)
}

// total is a graph of one number of the whole service.
func total(c Context, m measure, role theme.Role, note string) graph {
	return graph{
		title: m.name + "  " + m.text(c.Snap.Status.Traffic), note: note,
		lines: []chart.Line{{Samples: samples(c.Snap.Series.Total, m), Role: role}}, unit: m,
	}
}

// axis is how a measure is written where there is no room for its unit.
func axis(m measure) func(float64) string {
	if m.name == cpu.name {
		return widget.Short
	}
	return m.format
}

func latency(c Context) graph {
	t := c.Snap.Status.Traffic
	points := c.Snap.Series.Total
	return graph{
		title: fmt.Sprintf("latency  p50 %s  p95 %s  p99 %s", p50.text(t), p95.text(t), p99.text(t)),
		names: []string{"p99", "p95", "p50"},
		lines: []chart.Line{{Samples: samples(points, p99), Role: theme.Third}, {Samples: samples(points, p95), Role: theme.Candidate}, {Samples: samples(points, p50), Role: theme.Stable}},
		unit:  p99,
	}
}

// versus is a graph of one number of two releases.
func versus(c Context, m measure, old, candidate string) graph {
	s := c.Snap.Series.Releases
	return graph{
		title: m.name, names: []string{or(old, "nothing"), candidate},
		lines: []chart.Line{{Samples: samples(s[old], m), Role: theme.Stable}, {Samples: samples(s[candidate], m), Role: theme.Candidate}},
		unit:  m,
	}
}

// drawCharts draws two rows of four charts.
func drawCharts(r widget.Region, c Context, rows int) {
	cells := []func(widget.Region){
		func(r widget.Region) { total(c, rate, theme.Accent, "per second").draw(r, c) },
		func(r widget.Region) { latency(c).draw(r, c) },
		func(r widget.Region) { total(c, failures, theme.Bad, "share of requests").draw(r, c) },
		func(r widget.Region) { total(c, inFlight, theme.Accent, "requests and sockets open").draw(r, c) },
		func(r widget.Region) { total(c, cpu, theme.Accent, "all instances").draw(r, c) },
		func(r widget.Region) { total(c, memory, theme.Accent, "all instances").draw(r, c) },
		func(r widget.Region) { readyGraph(c).draw(r, c) },
		func(r widget.Region) { drawBudget(r, c) },
	}
	across := max(len(cells)/2, 1)
	if rows == 1 {
		cells, across = cells[:3], 3
	}
	h := r.H / rows
	for i, draw := range cells {
		x, next := i%across*r.W/across, (i%across+1)*r.W/across
		draw(r.Sub(x, i/across*h, next-x, h))
	}
}

func readyGraph(c Context) graph {
	g := total(c, ready, theme.OK, "instances")
	text, _ := readiness(c)
	g.title = "ready  " + text
	return g
}

// drawBudget draws the error budget's burn by window and what else there is to know of the service.
func drawBudget(r widget.Region, c Context) {
	st := c.Snap.Status
	inner := widget.Panel{Title: "error budget", Foot: "1" + c.G.Times + " is exactly what the objective allows"}.Draw(r, c.G)
	y := 0
	for _, b := range st.Burn {
		inner.Put(0, y, theme.Muted, "burn "+b.Window.String())
		inner.PutRight(20, y, burnRole(b.Rate), widget.Short(b.Rate)+c.G.Times)
		if inner.W > 34 {
			inner.Bar(22, y, inner.W-22, min(b.Rate/10, 1), burnRole(b.Rate), theme.Border, c.G)
		}
		y++
	}
	if y == 0 {
		inner.PutCut(0, 0, inner.W, theme.Muted, unmeasured(c), c.G.Ellipsis)
		y++
	}
	y++
	facts := [][2]string{
		{"stable", or(st.Stable, "none")}, {"previous", or(st.Previous, "none")},
		{"platform", st.Platform}, {"covetd", st.Version + pid(st)}, {"up", uptime(st, c.Now)},
	}
	for _, f := range facts {
		inner.Put(0, y, theme.Muted, f[0])
		inner.PutCut(10, y, inner.W-10, theme.Text, f[1], c.G.Ellipsis)
		y++
	}
}

func pid(st *console.Status) string {
	if st.PID == 0 {
		return ""
	}
	return " pid " + strconv.Itoa(st.PID)
}

func uptime(st *console.Status, now time.Time) string {
	if st.StartedAt.IsZero() {
		return "not running"
	}
	return widget.Age(now.Sub(st.StartedAt))
}
