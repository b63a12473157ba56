package widget

import (
	"math"

	"github.com/covetpy/covet/tui/theme"
)

// Spark draws values as a row of small bars between nothing and their highest; a NaN is a gap. The newest stands at the
// right.
func (r Region) Spark(x, y, w int, role theme.Role, values []float64, g theme.Glyphs) {
	if len(values) > w {
		values = values[len(values)-w:]
	}
	top := 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	x += w - len(values)
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		level := 0
		if top > 0 {
			level = int(v / top * float64(len(g.Levels)-1))
		}
		r.Put(x+i, y, role, g.Levels[min(max(level, 0), len(g.Levels)-1)])
	}
}
