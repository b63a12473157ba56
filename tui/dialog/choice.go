package dialog

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Item is one thing to choose.
type Item struct {
	Key   string // shown before it
	Label string
	Note  string // shown after it
	Why   string // not empty: it cannot be chosen, and this is why
}

// Choice lets a person choose one of several items, by cursor or, where it searches, by typing some of its letters.
type Choice struct {
	Title  string
	Lead   string // a sentence above the items
	Items  []Item
	Search bool
	Keys   bool // an item's key chooses it

	Free func(typed string) string // says what letters that no item has would choose, or nothing; nil: they choose nothing

	field  Field
	list   widget.List
	seen   []int // indices of the items that match, best first
	height int
}

// NewChoice makes a choice with the cursor on the first item.
func NewChoice(title, lead string, search bool, items []Item) *Choice {
	c := &Choice{Title: title, Lead: lead, Items: items, Search: search, field: NewField(64)}
	c.match()
	return c
}

// Index is the item that was chosen.
func (c *Choice) Index() int {
	if len(c.seen) == 0 {
		return -1
	}
	return c.seen[min(max(c.list.Cursor, 0), len(c.seen)-1)]
}

// Typed is what was typed.
func (c *Choice) Typed() string { return c.field.Value() }

// Refresh has other items; what was typed stays, and the cursor stays on the item it is on, if there still is one of that name.
func (c *Choice) Refresh(lead string, items []Item) {
	on := ""
	if i := c.Index(); i >= 0 {
		on = c.Items[i].Label
	}
	c.Lead, c.Items = lead, items
	c.match()
	if at := slices.IndexFunc(c.seen, func(i int) bool { return items[i].Label == on }); at >= 0 {
		c.list.Cursor = at
	}
}

// free is what the typed letters would choose that no item has.
func (c *Choice) free() string {
	if c.Free == nil || len(c.seen) > 0 {
		return ""
	}
	return c.Free(c.Typed())
}

// Guarded is false: choosing only leads on to something that asks.
func (c *Choice) Guarded() bool { return false }

// Update moves, searches, accepts.
func (c *Choice) Update(msg tea.Msg) Outcome {
	k := key(msg)
	switch k {
	case "esc":
		return Canceled
	case "enter":
		return c.accept()
	case "up", "down", "pgup", "pgdown", "home", "end":
		c.list.Key(k, len(c.seen), c.height)
		return Open
	case "ctrl+n", "ctrl+p", "tab", "shift+tab":
		c.list.Key(map[string]string{"ctrl+n": "j", "tab": "j"}[k]+map[string]string{"ctrl+p": "k", "shift+tab": "k"}[k], len(c.seen), c.height)
		return Open
	}
	if c.Search {
		c.field.Update(msg)
		c.match()
		return Open
	}
	if c.Keys {
		for n, i := range c.seen {
			if c.Items[i].Key == k {
				c.list.Cursor = n
				return c.accept()
			}
		}
	}
	if k == "q" {
		return Canceled
	}
	c.list.Key(k, len(c.seen), c.height)
	return Open
}

func (c *Choice) accept() Outcome {
	if i := c.Index(); i >= 0 && c.Items[i].Why == "" || c.free() != "" {
		return Accepted
	}
	return Open
}

// match finds the items in which the typed letters occur in order, those where they stand closest first.
func (c *Choice) match() {
	c.seen = c.seen[:0]
	query := strings.ToLower(c.field.Value())
	scores := map[int]int{}
	for i, it := range c.Items {
		if score, ok := Fuzzy(query, strings.ToLower(it.Label)); ok {
			scores[i] = score
			at := len(c.seen)
			for at > 0 && scores[c.seen[at-1]] < score {
				at--
			}
			c.seen = append(c.seen, 0)
			copy(c.seen[at+1:], c.seen[at:])
			c.seen[at] = i
		}
	}
	c.list = widget.List{}
}

// Fuzzy reports whether the letters of query occur in text in order, and how well: letters that follow each other or
// begin words count more.
func Fuzzy(query, text string) (score int, ok bool) {
	run, at := 0, 0
	for _, q := range query {
		found := false
		for at < len(text) {
			letter := rune(text[at])
			starts := at == 0 || text[at-1] == ' ' || text[at-1] == '.'
			at++
			if letter != q {
				run = 0
				continue
			}
			run++
			score += run * 2
			if starts {
				score += 5
			}
			found = true
			break
		}
		if !found {
			return 0, false
		}
	}
	return score, true
}

// Draw draws the box as high as its items need.
func (c *Choice) Draw(screen widget.Region, g theme.Glyphs) {
	w := min(screen.W-2, 84)
	lead := widget.Wrap(c.Lead, w-4)
	if c.Lead == "" {
		lead = nil
	}
	above := len(lead)
	if c.Search {
		above += 2
	}
	foot := "enter chooses " + g.Dot + " esc leaves"
	below := 2
	if screen.H < len(c.Items)+above+4 {
		below = 0
	}
	r := box(screen, w, len(c.Items)+above+below+2, widget.Panel{Title: c.Title, Foot: foot}, g)
	for y, l := range lead {
		r.Put(0, y, theme.Muted, l)
	}
	if c.Search {
		r.Put(0, len(lead), theme.Accent, ":")
		c.field.Draw(r, 2, len(lead), r.W-2, theme.Strong, true)
	}
	c.items(r.Sub(0, above, r.W, r.H-above-below), g)
	if i := c.Index(); below > 0 && i >= 0 { // in full, where the row has no room for it
		it := c.Items[i]
		role, text := theme.Info, it.Note
		if it.Why != "" {
			role, text = theme.Warn, g.Bad+" "+it.Why
		}
		r.PutCut(0, r.H-1, r.W, role, text, g.Ellipsis)
	}
}

func (c *Choice) items(r widget.Region, g theme.Glyphs) {
	c.height = max(r.H, 1)
	from, to := c.list.Fit(len(c.seen), c.height)
	if len(c.seen) == 0 {
		text, role := "nothing has these letters", theme.Muted
		if free := c.free(); free != "" {
			text, role = "enter goes to "+free, theme.Text
		}
		r.PutCut(0, 0, r.W, role, text, g.Ellipsis)
	}
	keys, labels := 0, 0
	for _, it := range c.Items {
		keys, labels = max(keys, widget.Width(it.Key)), max(labels, widget.Width(it.Label))
	}
	labels = min(labels, r.W*2/3)
	for n := from; n < to; n++ {
		it, y := c.Items[c.seen[n]], n-from
		role := theme.Text
		if it.Why != "" {
			role = theme.Muted
		}
		if n == c.list.Cursor {
			r.Put(0, y, theme.Accent, g.Select)
		}
		x := r.Put(2, y, theme.Accent, it.Key)
		if keys > 0 {
			x = 2 + keys + 2
		}
		r.PutCut(x, y, labels, role, it.Label, g.Ellipsis)
		note := it.Note
		if it.Why != "" {
			note = g.Bad + " " + it.Why
		}
		r.PutCut(x+labels+2, y, r.W-x-labels-2, theme.Muted, note, g.Ellipsis)
		if n == c.list.Cursor {
			r.Choose(y)
		}
	}
}
