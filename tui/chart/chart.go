// Package chart draws small line charts in braille dots, or in plain characters where the terminal has no better. A
// spike survives: every column shows the highest of its values. A gap stays blank: nothing is ever interpolated.
package chart

import (
	"math"
	"time"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Sample is one measured value.
type Sample struct {
	At time.Time
	V  float64
}

// Line is one curve. Its samples are oldest first.
type Line struct {
	Samples []Sample
	Role    theme.Role
}

// Spec is what to draw.
type Spec struct {
	Lines    []Line
	From, To time.Time
	Step     time.Duration        // between samples; a longer silence is a gap
	Limit    float64              // a dashed line, where it is above 0
	Format   func(float64) string // of the axis
	Binary   bool                 // the axis counts bytes
	Least    float64              // the axis is at least so high: noise must not look like a catastrophe
}

// axis is the width of the labels at the left, the tick included.
const axis = 7

// Draw draws the chart over the whole region.
func Draw(r widget.Region, s Spec, g theme.Glyphs) {
	if r.W < axis+4 || r.H < 3 {
		return
	}
	plot := r.Sub(axis, 0, r.W-axis, r.H-2)
	top := s.top()
	ticks(r, plot.H, top, s.Format, g)
	timeAxis(r, plot, s, g)
	if s.Limit > 0 && s.Limit <= top {
		y := plot.H - 1 - int(s.Limit/top*float64(plot.H-1)+0.5)
		for x := 0; x < plot.W; x += 2 {
			plot.Put(x, y, theme.Warn, g.Limit)
		}
	}
	for _, l := range s.Lines {
		if g.Braille {
			braille(plot, s, l, top)
		} else {
			plain(plot, s, l, top)
		}
	}
}

func (s Spec) top() float64 {
	top := max(s.Limit, s.Least)
	for _, l := range s.Lines {
		for _, p := range l.Samples {
			if !math.IsNaN(p.V) && !p.At.Before(s.From) {
				top = max(top, p.V)
			}
		}
	}
	if s.Binary && top > 0 {
		unit := math.Pow(1024, math.Floor(math.Log(top)/math.Log(1024)))
		return Nice(top/unit) * unit
	}
	return Nice(top)
}

// Nice rounds up to 1, 2, 4, 6 or 8 times a power of ten, so that a quarter of it is round as well; 1 for nothing.
func Nice(v float64) float64 {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 6, 8} {
		if v <= m*p*(1+1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// ticks labels the axis at the top, the bottom and, where there is room, between.
func ticks(r widget.Region, h int, top float64, format func(float64) string, g theme.Glyphs) {
	for y := range h {
		r.Put(axis-1, y, theme.Border, g.AxisTick)
	}
	n := 1
	switch {
	case h >= 9:
		n = 4
	case h >= 5:
		n = 2
	}
	for i := range n + 1 {
		label := "0"
		if i > 0 {
			label = format(top * float64(i) / float64(n))
		}
		r.PutRight(axis-2, (h-1)-((h-1)*i+n/2)/n, theme.Muted, widget.Cut(label, axis-2, ""))
	}
}

func timeAxis(r, plot widget.Region, s Spec, g theme.Glyphs) {
	r.Put(axis-1, plot.H, theme.Border, g.AxisCorner)
	r.Fill(axis, plot.H, plot.W, theme.Border, g.Horizontal)
	n := max(min(plot.W/16, 4), 1)
	for i := range n + 1 {
		at := s.From.Add(s.To.Sub(s.From) * time.Duration(i) / time.Duration(n))
		label := at.UTC().Format("15:04")
		if s.To.Sub(s.From) < 10*time.Minute {
			label = at.UTC().Format("15:04:05")
		}
		x := axis + i*(plot.W-1)/n - len(label)/2
		x = min(max(x, 0), r.W-len(label))
		r.Put(x, plot.H+1, theme.Muted, label)
	}
}

// Buckets folds samples into n equal stretches of time, the highest of each; NaN where nothing was measured. A sample
// holds for a step and a half, so that a chart finer than the samples has no holes.
func Buckets(samples []Sample, from, to time.Time, step time.Duration, n int) []float64 {
	out := make([]float64, n)
	span := to.Sub(from)
	if n == 0 || span <= 0 {
		return out
	}
	hold := step + step/2
	j := 0
	last, lastAt := math.NaN(), time.Time{}
	for i := range out {
		end := from.Add(span * time.Duration(i+1) / time.Duration(n))
		begin := from.Add(span * time.Duration(i) / time.Duration(n))
		out[i] = math.NaN()
		for ; j < len(samples) && (samples[j].At.Before(end) || i == n-1 && !samples[j].At.After(to)); j++ {
			last, lastAt = samples[j].V, samples[j].At
			if !lastAt.Before(begin) && !math.IsNaN(last) {
				out[i] = higher(out[i], last)
			}
		}
		if math.IsNaN(out[i]) && !lastAt.IsZero() && begin.Before(lastAt.Add(hold)) {
			out[i] = last
		}
	}
	return out
}

func higher(a, b float64) float64 {
	if math.IsNaN(a) {
		return b
	}
	return max(a, b)
}
