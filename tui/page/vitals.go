package page

import (
	"math"
	"strconv"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/chart"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// measure is one number of a Point with its name and form.
type measure struct {
	name   string
	value  func(console.Point) float64
	format func(float64) string
	least  console.Measured // of the points that tell it
}

// known reports whether a point tells the number at all.
func (m measure) known(p console.Point) bool {
	switch m.least {
	case console.MeasuredNothing:
		return true
	case console.MeasuredRequests:
		return p.Measured != console.MeasuredNothing
	}
	return p.Measured == console.MeasuredAll
}

// text is the number as it is written, or that nobody knows it.
func (m measure) text(p console.Point) string {
	if !m.known(p) {
		return "-"
	}
	return m.format(m.value(p))
}

func cores(v float64) string { return widget.Short(v) + " cores" }
func size(v float64) string  { return widget.Bytes(int64(v)) }
func count(v float64) string { return strconv.Itoa(int(v)) }

var (
	rate     = measure{"req/s", func(p console.Point) float64 { return p.RequestRate }, widget.Short, console.MeasuredRequests}
	failures = measure{"errors", func(p console.Point) float64 { return p.ErrorRate }, widget.Percent, console.MeasuredRequests}
	p50      = measure{"p50", func(p console.Point) float64 { return p.P50 }, widget.Millis, console.MeasuredAll}
	p95      = measure{"p95", func(p console.Point) float64 { return p.P95 }, widget.Millis, console.MeasuredAll}
	p99      = measure{"p99", func(p console.Point) float64 { return p.P99 }, widget.Millis, console.MeasuredAll}
	inFlight = measure{"in flight", func(p console.Point) float64 { return float64(p.Connections) }, widget.Short, console.MeasuredAll}
	cpu      = measure{"cpu", func(p console.Point) float64 { return p.CPU }, cores, console.MeasuredAll}
	cpuShort = measure{"cpu", cpu.value, widget.Short, console.MeasuredAll} // where there is no room for the unit
	memory   = measure{"memory", func(p console.Point) float64 { return float64(p.RSS) }, size, console.MeasuredAll}
	ready    = measure{"ready", func(p console.Point) float64 { return float64(p.Ready) }, count, console.MeasuredNothing}
)

// window is the stretch of time that charts show: what there is, between one and fifteen minutes.
func window(s store.Series) (from, to time.Time) {
	if len(s.Total) == 0 {
		return time.Time{}, time.Time{}
	}
	to = s.Total[len(s.Total)-1].At
	for _, span := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute} {
		from = to.Add(-span)
		if s.Total[0].At.After(from) {
			break
		}
	}
	return from, to
}

func step(s store.Series) time.Duration {
	if s.Step > 0 {
		return s.Step
	}
	return time.Second
}

func samples(points []console.Point, m measure) []chart.Sample {
	out := make([]chart.Sample, 0, len(points))
	for _, p := range points {
		if m.known(p) {
			out = append(out, chart.Sample{At: p.At, V: m.value(p)})
		}
	}
	return out
}

// burning is the role and the sign for how fast the error budget goes.
func burning(c Context) (theme.Role, bool) {
	worst := 0.0
	for _, b := range c.Snap.Status.Burn {
		worst = max(worst, b.Rate)
	}
	switch {
	case worst >= 6:
		return theme.Bad, true
	case worst >= 1:
		return theme.Warn, true
	}
	return theme.Text, false
}

// drawVitals draws the numbers with their recent past in two columns of five.
func drawVitals(r widget.Region, c Context) {
	pairs := [][2]measure{{rate, failures}, {p50, inFlight}, {p95, cpu}, {p99, memory}, {ready, {}}}
	half := (r.W - 3) / 2
	for y, pair := range pairs {
		vital(r.Sub(0, y, half, 1), c, pair[0])
		r.Put(half+1, y, theme.Border, c.G.Vertical)
		right := r.Sub(half+3, y, r.W-half-3, 1)
		if pair[1].name == "" {
			drawBurn(right, c)
		} else {
			vital(right, c, pair[1])
		}
	}
}

func vital(r widget.Region, c Context, m measure) {
	p := c.Snap.Status.Traffic
	role, mark := theme.Strong, ""
	if m.name == failures.name {
		if burn, over := burning(c); over {
			role, mark = burn, c.G.Warn
		}
	}
	text := m.text(p)
	if m.name == ready.name {
		text, role = readiness(c)
	}
	r.Put(0, 0, theme.Muted, m.name)
	r.PutRight(20, 0, role, text+mark)
	from, to := window(c.Snap.Series)
	w := r.W - 22
	if w < 4 || from.IsZero() {
		return
	}
	values := chart.Buckets(samples(c.Snap.Series.Total, m), from, to, step(c.Snap.Series), w)
	r.Spark(22, 0, w, sparkRole(m), values, c.G)
}

func sparkRole(m measure) theme.Role {
	switch m.name {
	case failures.name:
		return theme.Bad
	case ready.name:
		return theme.OK
	}
	return theme.Accent
}

// readiness counts instances that should be there and are.
func readiness(c Context) (string, theme.Role) {
	have, want := 0, 0
	for _, r := range c.Snap.Status.Releases {
		if r.Role == console.RoleStable || r.Role == console.RoleCandidate {
			have, want = have+r.Ready, want+r.Wanted
		}
	}
	role := theme.OK
	switch {
	case have == 0:
		role = theme.Bad
	case have < want:
		role = theme.Warn
	}
	return strconv.Itoa(have) + "/" + strconv.Itoa(want), role
}

// drawBurn draws how fast the error budget goes, by window, on one row.
func drawBurn(r widget.Region, c Context) {
	x := r.Put(0, 0, theme.Muted, "burn ")
	if len(c.Snap.Status.Burn) == 0 {
		r.PutCut(x, 0, r.W-x, theme.Muted, unmeasured(c), c.G.Ellipsis)
	}
	for _, b := range c.Snap.Status.Burn {
		x = r.Put(x+1, 0, theme.Muted, b.Window.String())
		x = r.Put(x+1, 0, burnRole(b.Rate), widget.Short(b.Rate)+c.G.Times)
		x++
	}
}

// unmeasured says why there is no number.
func unmeasured(c Context) string {
	if c.Snap.Status.Platform == "kubernetes" {
		return "is measured during rollouts"
	}
	return "nothing measured yet"
}

func burnRole(v float64) theme.Role {
	switch {
	case math.IsNaN(v) || v < 1:
		return theme.OK
	case v < 6:
		return theme.Warn
	}
	return theme.Bad
}
