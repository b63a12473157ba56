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
}

func cores(v float64) string { return widget.Short(v) + " cores" }
func size(v float64) string  { return widget.Bytes(int64(v)) }
func count(v float64) string { return strconv.Itoa(int(v)) }

var (
	rate     = measure{"req/s", func(p console.Point) float64 { return p.RequestRate }, widget.Short}
	failures = measure{"errors", func(p console.Point) float64 { return p.ErrorRate }, widget.Percent}
	p50      = measure{"p50", func(p console.Point) float64 { return p.P50 }, widget.Millis}
	p95      = measure{"p95", func(p console.Point) float64 { return p.P95 }, widget.Millis}
	p99      = measure{"p99", func(p console.Point) float64 { return p.P99 }, widget.Millis}
	inFlight = measure{"in flight", func(p console.Point) float64 { return float64(p.Connections) }, widget.Short}
	cpu      = measure{"cpu", func(p console.Point) float64 { return p.CPU }, cores}
	memory   = measure{"memory", func(p console.Point) float64 { return float64(p.RSS) }, size}
	ready    = measure{"ready", func(p console.Point) float64 { return float64(p.Ready) }, count}
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
	out := make([]chart.Sample, len(points))
	for i, p := range points {
		out[i] = chart.Sample{At: p.At, V: m.value(p)}
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
	text := m.format(m.value(p))
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
		r.Put(x, 0, theme.Muted, "nothing measured yet")
	}
	for _, b := range c.Snap.Status.Burn {
		x = r.Put(x+1, 0, theme.Muted, b.Window.String())
		x = r.Put(x+1, 0, burnRole(b.Rate), widget.Short(b.Rate)+c.G.Times)
		x++
	}
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
