package chart

import (
	"math"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// dots are the bits of a braille character, by column and by row from its top.
var dots = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

// braille draws a curve with two dots across and four down in every cell.
func braille(plot widget.Region, s Spec, l Line, top float64) {
	values := Buckets(l.Samples, s.From, s.To, s.Step, plot.W*2)
	height := plot.H * 4
	cells := make([]rune, plot.W*plot.H)
	before := -1
	for x, v := range values {
		if math.IsNaN(v) {
			before = -1
			continue
		}
		y := height - 1 - int(math.Round(min(max(v/top, 0), 1)*float64(height-1)))
		lo, hi := y, y
		switch {
		case before >= 0 && before < y:
			lo = before + 1
		case before > y:
			hi = before - 1
		}
		for d := lo; d <= hi; d++ {
			cells[d/4*plot.W+x/2] |= dots[x%2][d%4]
		}
		before = y
	}
	for i, c := range cells {
		if c != 0 {
			plot.Put(i%plot.W, i/plot.W, l.Role, string(0x2800+c))
		}
	}
}

// marks stand for the lines of a plain chart, so that they can be told apart without colour.
var marks = map[theme.Role]string{theme.Stable: "o", theme.Candidate: "*", theme.Third: "+"}

// Mark is the sign for a line of the role in a chart's legend.
func Mark(r theme.Role, g theme.Glyphs) string {
	if g.Braille {
		return g.Full
	}
	if mark, ok := marks[r]; ok {
		return mark
	}
	return "*"
}

func plain(plot widget.Region, s Spec, l Line, top float64) {
	mark := Mark(l.Role, theme.Glyphs{})
	for x, v := range Buckets(l.Samples, s.From, s.To, s.Step, plot.W) {
		if math.IsNaN(v) {
			continue
		}
		y := plot.H - 1 - int(math.Round(min(max(v/top, 0), 1)*float64(plot.H-1)))
		plot.Put(x, y, l.Role, mark)
	}
}
