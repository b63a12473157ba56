package dialog

import (
	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Row is one line of a Notice: a key at the left, words, and a remark after them.
type Row struct {
	Key, Text, Note string
	Role            theme.Role // of Text
}

// Notice shows something to read. It scrolls where it is longer than the screen.
type Notice struct {
	Title string
	Role  theme.Role
	State string
	Rows  []Row
	Foot  string

	list   widget.List
	height int
}

// NewNotice makes a notice of wrapped paragraphs.
func NewNotice(title, state string, role theme.Role, paragraphs ...string) *Notice {
	n := &Notice{Title: title, State: state, Role: role}
	for _, p := range paragraphs {
		for _, l := range widget.Wrap(p, 70) {
			n.Rows = append(n.Rows, Row{Text: l})
		}
	}
	return n
}

// Guarded is true: what came as a surprise must not be closed by a key that was meant for something else.
func (n *Notice) Guarded() bool { return true }

// Update scrolls; esc, enter, q and ? close.
func (n *Notice) Update(msg tea.Msg) Outcome {
	k := key(msg)
	switch k {
	case "esc", "enter", "q", "?":
		return Canceled
	}
	top := widget.List{Cursor: n.list.Top}
	top.Key(k, max(len(n.Rows)-n.height+1, 1), n.height)
	n.list.Top = top.Cursor
	return Open
}

// Draw draws the box.
func (n *Notice) Draw(screen widget.Region, g theme.Glyphs) {
	keys, texts, widest := 0, 0, 0
	for _, row := range n.Rows {
		keys = max(keys, widget.Width(row.Key))
		if row.Note != "" {
			texts = max(texts, widget.Width(row.Text))
		}
		widest = max(widest, widget.Width(row.Text))
	}
	left := 0
	if keys > 0 {
		left = keys + 2
	}
	for _, row := range n.Rows {
		if row.Note != "" {
			widest = max(widest, texts+2+widget.Width(row.Note))
		}
	}
	w := min(max(widest+left+4, 40), screen.W-2)
	foot := "esc closes"
	if len(n.Rows)+2 > screen.H {
		foot = "j/k scroll " + g.Dot + " esc closes"
	}
	r := box(screen, w, len(n.Rows)+2, widget.Panel{Title: n.Title, State: n.State, Role: n.Role, Foot: foot}, g)
	n.height = max(r.H, 1)
	n.list.Top = min(max(n.list.Top, 0), max(len(n.Rows)-n.height, 0))
	for y := 0; y < r.H && n.list.Top+y < len(n.Rows); y++ {
		row := n.Rows[n.list.Top+y]
		r.Put(0, y, theme.Accent, row.Key)
		r.PutCut(left, y, r.W-left, row.Role, row.Text, g.Ellipsis)
		if row.Note != "" {
			r.PutCut(left+texts+2, y, r.W-left-texts-2, theme.Muted, row.Note, g.Ellipsis)
		}
	}
}
