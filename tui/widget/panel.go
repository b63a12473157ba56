package widget

import "github.com/covetpy/covet/tui/theme"

// Panel is a box with a title, a note at the right of its upper edge and one at its lower.
type Panel struct {
	Title string
	State string     // drawn after the title, in its own role
	Role  theme.Role // of State
	Note  string
	Foot  string
	Focus bool
}

// Draw draws the box and returns the region inside it, one column in from the border.
func (p Panel) Draw(r Region, g theme.Glyphs) Region {
	if r.H < 2 || r.W < 4 {
		return r.Sub(0, 0, r.W, r.H)
	}
	edge := theme.Border
	if p.Focus {
		edge = theme.Focus
	}
	r.Put(0, 0, edge, g.TopLeft)
	r.Fill(1, 0, r.W-2, edge, g.Horizontal)
	r.Put(r.W-1, 0, edge, g.TopRight)
	for y := 1; y < r.H-1; y++ {
		r.Put(0, y, edge, g.Vertical)
		r.Put(r.W-1, y, edge, g.Vertical)
	}
	r.Put(0, r.H-1, edge, g.BottomLeft)
	r.Fill(1, r.H-1, r.W-2, edge, g.Horizontal)
	r.Put(r.W-1, r.H-1, edge, g.BottomRight)
	p.words(r, g)
	return r.Sub(2, 1, r.W-4, r.H-2)
}

func (p Panel) words(r Region, g theme.Glyphs) {
	room := r.W - 4
	x := 1
	if p.Title != "" && room > 2 {
		x = r.Put(1, 0, theme.Title, " "+Cut(p.Title, room-1, g.Ellipsis)+" ")
	}
	if p.State != "" && r.W-x > 6 {
		x = r.Put(x, 0, p.Role, Cut(p.State, r.W-x-3, g.Ellipsis)+" ")
	}
	if w := Width(p.Note); w > 0 && x+w+4 <= r.W {
		r.Put(r.W-w-3, 0, theme.Muted, " "+p.Note+" ")
	}
	if p.Foot != "" && room > 4 && r.H > 2 {
		r.Put(1, r.H-1, theme.Muted, " "+Cut(p.Foot, room-2, g.Ellipsis)+" ")
	}
}

// Bar draws a share of 0 to 1 as a filled bar.
func (r Region) Bar(x, y, w int, share float64, full, empty theme.Role, g theme.Glyphs) {
	n := int(share*float64(w) + 0.5)
	if share > 0 && n == 0 {
		n = 1
	}
	if share < 1 && n >= w && w > 0 {
		n = w - 1
	}
	n = min(max(n, 0), w)
	r.Fill(x, y, n, full, g.Full)
	r.Fill(x+n, y, w-n, empty, g.Empty)
}
