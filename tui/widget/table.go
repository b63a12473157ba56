package widget

import "github.com/covetpy/covet/tui/theme"

// Column describes a column of a table. When there is not room for all, those with the highest Rank go first.
type Column struct {
	Title string
	Width int
	Right bool // numbers
	Rank  int
	Grow  bool // takes what room is left
}

// Slot is where a column came to stand.
type Slot struct {
	Column
	Index int // in the columns given to Layout
	X     int
}

// Layout places columns in w, two blanks apart, leaving out what does not fit.
func Layout(columns []Column, w int) []Slot {
	keep := make([]bool, len(columns))
	for i := range keep {
		keep[i] = true
	}
	for total(columns, keep) > w {
		worst := -1
		for i, c := range columns {
			if keep[i] && (worst < 0 || c.Rank >= columns[worst].Rank) {
				worst = i
			}
		}
		if worst < 0 || columns[worst].Rank == 0 {
			break
		}
		keep[worst] = false
	}
	spare := max(w-total(columns, keep), 0)
	var slots []Slot
	x := 0
	for i, c := range columns {
		if !keep[i] {
			continue
		}
		if c.Grow {
			c.Width, spare = c.Width+spare, 0
		}
		c.Width = max(min(c.Width, w-x), 0)
		slots = append(slots, Slot{Column: c, Index: i, X: x})
		x += c.Width + 2
	}
	return slots
}

func total(columns []Column, keep []bool) int {
	n := -2
	for i, c := range columns {
		if keep[i] {
			n += c.Width + 2
		}
	}
	return n
}

// Cell draws text in the slot on row y.
func (s Slot) Cell(r Region, y int, role theme.Role, text string, g theme.Glyphs) {
	text = Cut(text, s.Width, g.Ellipsis)
	if s.Right {
		r.PutRight(s.X+s.Width, y, role, text)
		return
	}
	r.Put(s.X, y, role, text)
}

// Heads draws the columns' titles on row y.
func Heads(r Region, y int, slots []Slot, g theme.Glyphs) {
	for _, s := range slots {
		s.Cell(r, y, theme.Muted, s.Title, g)
	}
}
