package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// order is a way to sort the rows of a roster.
type order[T any] struct {
	name string
	by   func(a, b *T) int // nil: as they come
}

// kindOf is what a roster must know of what it lists.
type kindOf[T any] struct {
	title, noun string // "pods", "pod"
	orders      []order[T]
	id          func(*T) string
	texts       func(*T) []string // in which the filter searches
	columns     func(rows []*T) []widget.Column
	cell        func(t *T, column string, c Context) (theme.Role, string)
}

// roster is a list of any length with a cursor, a filter and several orders. It draws only the rows on the screen, and filters
// and sorts only when there is something new to.
type roster[T any] struct {
	kind   kindOf[T]
	list   widget.List
	height int // rows on the screen when it was last drawn
	filter string
	order  int
	open   bool // the selected one is shown in full
	zoomed bool
	picked string // id under the cursor, which stays under it when rows move

	all   int // there are, before the filter
	rows  []*T
	made  made
	ranks []ranked[T] // for sorting
}

// made is what rows were made of.
type made struct {
	version uint64
	filter  string
	order   int
}

// ranked is a row and where it came.
type ranked[T any] struct {
	row *T
	at  int
}

// Filter shows only rows in which the text occurs.
func (p *roster[T]) Filter(text string) { p.filter = strings.ToLower(text) }

// arrange makes rows of the version of all, if anything they are made of has changed. A filter that was only made longer
// searches no more than the rows it has left.
func (p *roster[T]) arrange(version uint64, all []*T) {
	want := made{version, p.filter, p.order}
	if p.rows != nil && want == p.made {
		return
	}
	from, sorted := all, false
	if p.rows != nil && p.made.version == version && p.made.order == p.order && p.made.filter != "" && strings.HasPrefix(p.filter, p.made.filter) {
		from, sorted = p.rows, true
	}
	rows := make([]*T, 0, len(from))
	for _, t := range from {
		if p.filter == "" || slices.ContainsFunc(p.kind.texts(t), func(s string) bool { return holds(s, p.filter) }) {
			rows = append(rows, t)
		}
	}
	p.made, p.all, p.rows = want, len(all), rows
	if by := p.kind.orders[p.order].by; by != nil && !sorted {
		p.sort(by)
	}
	if p.picked == "" {
		return
	}
	if at := slices.IndexFunc(p.rows, func(t *T) bool { return p.kind.id(t) == p.picked }); at >= 0 {
		p.list.Cursor = at
	}
}

// sort sorts the rows; those that are alike stay as they came.
func (p *roster[T]) sort(by func(a, b *T) int) {
	p.ranks = p.ranks[:0]
	for at, t := range p.rows {
		p.ranks = append(p.ranks, ranked[T]{t, at})
	}
	slices.SortFunc(p.ranks, func(a, b ranked[T]) int {
		if n := by(a.row, b.row); n != 0 {
			return n
		}
		return a.at - b.at
	})
	for at, r := range p.ranks {
		p.rows[at] = r.row
	}
	clear(p.ranks)
}

// holds reports whether text has a lower-case word in it, in letters of either case.
func holds(text, word string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.Contains(strings.ToLower(text), word)
		}
	}
	for n := len(word); len(text) >= n; text = text[1:] {
		if text[0]|0x20 == word[0]|0x20 && strings.EqualFold(text[:n], word) {
			return true
		}
	}
	return false
}

// current is the row under the cursor, or nil.
func (p *roster[T]) current() *T {
	if len(p.rows) == 0 {
		return nil
	}
	return p.rows[min(max(p.list.Cursor, 0), len(p.rows)-1)]
}

// key moves the cursor, sorts, opens and closes the detail.
func (p *roster[T]) key(key string) bool {
	switch {
	case p.list.Key(key, len(p.rows), p.height):
		if t := p.current(); t != nil {
			p.picked = p.kind.id(t)
		}
	case key == "s":
		p.order = (p.order + 1) % len(p.kind.orders)
	case key == "enter" && len(p.rows) > 0:
		p.open = true
	case key == "esc" && p.open:
		p.open = false
	case key == "z":
		p.zoomed = !p.zoomed
	default:
		return false
	}
	return true
}

// panes draws the list and, where there is room or it was opened, the selected row in full; beside it the list is as wide as left.
func (p *roster[T]) panes(r widget.Region, c Context, left int, panel widget.Panel, none string, detail func(widget.Region, bool)) {
	if Small(r) {
		p.table(r, c, true, none)
		return
	}
	if p.open && !Wide(r) {
		detail(r, true)
		return
	}
	if Wide(r) && !p.zoomed {
		detail(r.Sub(left, 0, r.W-left, r.H), p.open)
		r = r.Sub(0, 0, left, r.H)
	}
	panel.Title, panel.Note, panel.Focus = p.kind.title, "by "+p.kind.orders[p.order].name, true
	if panel.State == "" {
		panel.State, panel.Role = p.counted(), theme.Muted
	}
	p.table(panel.Draw(r, c.G), c, true, none)
}

func (p *roster[T]) counted() string {
	if p.filter == "" {
		return strconv.Itoa(len(p.rows))
	}
	return fmt.Sprintf("%d of %d", len(p.rows), p.all)
}

// table draws the heads and the rows in the window.
func (p *roster[T]) table(r widget.Region, c Context, cursor bool, none string) {
	head := 1
	if r.H < 4 {
		head = 0
	}
	p.height = max(r.H-head, 1)
	from, to := p.list.Fit(len(p.rows), p.height)
	slots := widget.Layout(p.kind.columns(p.rows[from:to]), r.W)
	if head == 1 {
		widget.Heads(r, 0, slots, c.G)
	}
	if len(p.rows) == 0 {
		hint(r, p.none(c, none))
	}
	for i := from; i < to; i++ {
		p.row(r, head+i-from, c, slots, p.rows[i], cursor && i == p.list.Cursor)
	}
}

func (p *roster[T]) row(r widget.Region, y int, c Context, slots []widget.Slot, t *T, chosen bool) {
	for _, slot := range slots {
		role, text := theme.Accent, ""
		switch {
		case slot.Title != "":
			role, text = p.kind.cell(t, slot.Title, c)
		case chosen:
			text = c.G.Select
		}
		slot.Cell(r, y, role, text, c.G)
	}
	if chosen {
		r.Choose(y)
	}
}

// none says why there is no row.
func (p *roster[T]) none(c Context, otherwise string) string {
	if p.all > 0 {
		return "no " + p.kind.noun + " has " + strconv.Quote(p.filter) + " in it " + c.G.Dot + " esc shows all"
	}
	return otherwise
}

// byText is an order by a text.
func byText[T any](of func(*T) string) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(of(a), of(b)) }
}
