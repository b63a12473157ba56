// Package widget draws on a grid of cells: regions that clip, panels, tables, bars and lists. Whatever is drawn outside a
// region is cut off, so no line can ever be wider than the screen.
package widget

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/covetpy/covet/tui/theme"
)

type cell struct {
	text   string // one grapheme; empty for a blank, or for the second half of a wide one
	role   theme.Role
	chosen bool
	width  int8 // 0 for a blank, -1 for the second half of a wide grapheme
}

// Surface is a grid of cells.
type Surface struct {
	w, h  int
	cells []cell
	out   strings.Builder
	plain bool
}

// Plain has the grid show signs that are of ambiguous width, or that a plain font lacks, as ASCII. Letters of any script
// stay what they are.
func (s *Surface) Plain(yes bool) { s.plain = yes }

// plainly are the signs that stand in texts from the service.
var plainly = map[string]string{
	"→": ">", "←": "<", "…": "~", "—": "-", "–": "-", "·": "-", "•": "*", "‖": "=", "✓": "+", "✗": "x", "×": "x", "≥": ">", "≤": "<", "≈": "~",
	"“": `"`, "”": `"`, "‘": "'", "’": "'", "█": "#", "░": ".", "│": "|", "─": "-",
}

// NewSurface makes an empty grid.
func NewSurface(w, h int) *Surface {
	s := &Surface{}
	s.Reset(w, h)
	return s
}

// Reset empties the grid and gives it a new size, keeping its memory where it can.
func (s *Surface) Reset(w, h int) {
	w, h = max(w, 0), max(h, 0)
	s.w, s.h = w, h
	if n := w * h; cap(s.cells) >= n {
		s.cells = s.cells[:n]
		clear(s.cells)
	} else {
		s.cells = make([]cell, n)
	}
}

// All is the region that covers the whole grid.
func (s *Surface) All() Region { return Region{s: s, W: s.w, H: s.h} }

// Render is the grid as lines of styled text, each at most as wide as the grid.
func (s *Surface) Render(t *theme.Theme) string {
	s.out.Reset()
	s.out.Grow(len(s.cells) + len(s.cells)/2)
	for y := range s.h {
		if y > 0 {
			s.out.WriteByte('\n')
		}
		s.renderRow(t, s.cells[y*s.w:(y+1)*s.w])
	}
	return s.out.String()
}

func (s *Surface) renderRow(t *theme.Theme, row []cell) {
	for len(row) > 0 && row[len(row)-1] == (cell{}) {
		row = row[:len(row)-1]
	}
	current := ""
	for i := range row {
		c := &row[i]
		if c.width < 0 {
			continue
		}
		if open := t.Open(c.role, c.chosen); open != current {
			if current != "" {
				s.out.WriteString(theme.Close)
			}
			s.out.WriteString(open)
			current = open
		}
		if c.width == 0 {
			s.out.WriteByte(' ')
		} else {
			s.out.WriteString(c.text)
		}
	}
	if current != "" {
		s.out.WriteString(theme.Close)
	}
}

// Lines is the grid as plain text, without trailing blanks.
func (s *Surface) Lines() []string {
	lines := make([]string, s.h)
	for y := range s.h {
		var b strings.Builder
		for _, c := range s.cells[y*s.w : (y+1)*s.w] {
			switch {
			case c.width == 0:
				b.WriteByte(' ')
			case c.width > 0:
				b.WriteString(c.text)
			}
		}
		lines[y] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// Region is a rectangle of a surface with its own origin. What is put outside it is cut off.
type Region struct {
	s    *Surface
	x, y int
	W, H int
}

// Sub is a part of the region, cut to what there is.
func (r Region) Sub(x, y, w, h int) Region {
	x, y = max(x, 0), max(y, 0)
	w, h = max(min(w, r.W-x), 0), max(min(h, r.H-y), 0)
	return Region{s: r.s, x: r.x + x, y: r.y + y, W: w, H: h}
}

// Empty reports whether nothing can be drawn in the region.
func (r Region) Empty() bool { return r.W <= 0 || r.H <= 0 }

func (r Region) at(x, y int) *cell { return &r.s.cells[(r.y+y)*r.s.w+r.x+x] }

// Put draws text from (x, y) and returns the column after it. Control characters and escape sequences in the text are
// never passed on to the terminal.
func (r Region) Put(x, y int, role theme.Role, text string) int {
	if y < 0 || y >= r.H {
		return x
	}
	for i := 0; i < len(text); {
		if x >= r.W {
			return x
		}
		n, w := next(text[i:])
		if w > 0 {
			x = r.set(x, y, role, text[i:i+n], w)
		}
		i += n
	}
	return x
}

func (r Region) set(x, y int, role theme.Role, g string, w int) int {
	if x < 0 || x+w > r.W {
		return x + w
	}
	r.blank(x, y)
	if w == 2 {
		r.blank(x+1, y)
		r.at(x+1, y).width = -1
		r.at(x+1, y).role = role
	}
	if c := g[0]; len(g) == 1 && (c < ' ' || c == 0x7f) {
		g = " "
	}
	if r.s.plain && len(g) > 1 {
		if p, ok := plainly[g]; ok {
			g = p
		}
	}
	*r.at(x, y) = cell{text: g, role: role, width: int8(w)}
	return x + w
}

// blank empties a cell, and the other half of what stood there if that was wide.
func (r Region) blank(x, y int) {
	i := (r.y+y)*r.s.w + r.x + x
	c := r.s.cells[i]
	if c.width == -1 {
		r.s.cells[i-1] = cell{}
	}
	if c.width == 2 {
		r.s.cells[i+1] = cell{}
	}
	r.s.cells[i] = cell{}
}

// next measures the first grapheme of text: its bytes and its columns. What must not reach the terminal has 0 columns.
func next(text string) (bytes, columns int) {
	c := text[0]
	if c < utf8.RuneSelf && (len(text) == 1 || text[1] < utf8.RuneSelf) {
		if c == 0x1b {
			return escape(text), 0
		}
		return 1, 1 // a control character takes a column and is drawn as a blank
	}
	ru, size := utf8.DecodeRuneInString(text)
	if ru == utf8.RuneError || ru >= 0x80 && ru < 0xa0 || unicode.Is(unicode.Bidi_Control, ru) {
		return size, 0
	}
	g, w := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
	return len(g), w
}

// escape is how many bytes the escape sequence at the start of text has.
func escape(text string) int {
	if _, _, n, _ := ansi.DecodeSequence(text, ansi.NormalState, nil); n > 0 {
		return n
	}
	return 1
}

// Width is how many columns text takes when it is put.
func Width(text string) int {
	n := 0
	for i := 0; i < len(text); {
		b, w := next(text[i:])
		i, n = i+b, n+w
	}
	return n
}

// Cut is text in at most w columns, ending in mark where something was cut off.
func Cut(text string, w int, mark string) string {
	if w <= 0 {
		return ""
	}
	if len(text) <= w && isPlain(text) || Width(text) <= w {
		return text
	}
	room, used := w-Width(mark), 0
	for i := 0; i < len(text); {
		b, c := next(text[i:])
		if used+c > room {
			return text[:i] + mark
		}
		i, used = i+b, used+c
	}
	return text
}

func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// PutRight draws text so that it ends before column end.
func (r Region) PutRight(end, y int, role theme.Role, text string) {
	r.Put(end-Width(text), y, role, text)
}

// PutCut draws text in at most w columns, with a mark where it was cut.
func (r Region) PutCut(x, y, w int, role theme.Role, text, mark string) int {
	return r.Put(x, y, role, Cut(text, min(w, r.W-x), mark))
}

// Clear empties the region.
func (r Region) Clear() {
	for y := range r.H {
		for x := range r.W {
			r.blank(x, y)
		}
	}
}

// Fill draws one narrow glyph over a stretch of a row.
func (r Region) Fill(x, y, w int, role theme.Role, glyph string) {
	for i := range w {
		r.Put(x+i, y, role, glyph)
	}
}

// Choose marks a row as the selected one.
func (r Region) Choose(y int) {
	if y < 0 || y >= r.H {
		return
	}
	for x := range r.W {
		r.at(x, y).chosen = true
	}
}

// Repaint gives everything in the region one role: for values that are out of date, and for what lies behind a dialog.
func (r Region) Repaint(role theme.Role) {
	for y := range r.H {
		for x := range r.W {
			c := r.at(x, y)
			if c.width != 0 {
				c.role = role
			}
		}
	}
}

// Copy draws another surface over the region.
func (r Region) Copy(from *Surface) {
	for y := range min(r.H, from.h) {
		w := min(r.W, from.w)
		copy(r.s.cells[(r.y+y)*r.s.w+r.x:][:w], from.cells[y*from.w:][:w])
	}
}
