package page

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Audit lists who did what and what covetd decided by itself, newest first.
type Audit struct {
	list   widget.List
	height int
	filter string
	open   bool

	rows    []console.AuditEntry
	version uint64
	made    string // the filter rows were made with
	ready   bool
}

// NewAudit makes the page.
func NewAudit() *Audit { return &Audit{} }

// Filter shows only entries in which the text occurs.
func (p *Audit) Filter(text string) { p.filter = strings.ToLower(text) }

func (p *Audit) arrange(c Context) {
	if p.ready && p.version == c.Snap.Version && p.made == p.filter {
		return
	}
	at := p.at()
	p.ready, p.version, p.made, p.rows = true, c.Snap.Version, p.filter, c.Snap.Audit
	if p.filter != "" {
		p.rows = nil
		for _, e := range c.Snap.Audit {
			if strings.Contains(strings.ToLower(strings.Join([]string{e.By, string(e.Kind), e.Subject, e.Text}, " ")), p.filter) {
				p.rows = append(p.rows, e)
			}
		}
	}
	if p.list.Cursor > 0 { // someone reads there: new entries must not push what is read away
		for i, e := range p.rows {
			if e.Seq == at.Seq {
				p.list.Top += i - p.list.Cursor
				p.list.Cursor = i
				break
			}
		}
	}
}

func (p *Audit) at() console.AuditEntry {
	if p.list.Cursor < 0 || p.list.Cursor >= len(p.rows) {
		return console.AuditEntry{}
	}
	return p.rows[p.list.Cursor]
}

// Selection is what the entry under the cursor is about.
func (p *Audit) Selection(c Context) action.Selection {
	p.arrange(c)
	e := p.at()
	if strings.HasPrefix(string(e.Kind), "rollout.") {
		return action.Selection{Rollout: e.Subject}
	}
	return action.Selection{}
}

// Key moves the cursor, opens an entry and closes it.
func (p *Audit) Key(key string, c Context) bool {
	p.arrange(c)
	switch {
	case p.list.Key(key, len(p.rows), p.height):
	case key == "enter" && len(p.rows) > 0:
		p.open = true
	case key == "esc" && p.open:
		p.open = false
	default:
		return false
	}
	return true
}

// AtEnd reports whether the cursor is on the oldest entry known while there are older ones to ask for.
func (p *Audit) AtEnd(c Context) bool {
	p.arrange(c)
	return !c.Snap.AuditAll && len(p.rows) > 0 && p.list.Cursor >= len(p.rows)-1
}

// Draw draws the list, with the whole of the selected entry below it where it is open or there is room.
func (p *Audit) Draw(r widget.Region, c Context) {
	p.arrange(c)
	if Small(r) {
		p.table(r, c)
		return
	}
	list := r
	if p.open || Wide(r) {
		list = r.Sub(0, 0, r.W, r.H-7)
		p.entry(r.Sub(0, list.H, r.W, 7), c)
	}
	state := strconv.Itoa(len(p.rows))
	if p.filter != "" {
		state = fmt.Sprintf("%d of %d", len(p.rows), len(c.Snap.Audit))
	}
	foot := "enter opens " + c.G.Dot + " times are UTC"
	if !c.Snap.AuditAll {
		foot += " " + c.G.Dot + " G at the end asks for older ones"
	}
	p.table(widget.Panel{Title: "audit log", State: state, Role: theme.Muted, Foot: foot, Focus: true}.Draw(list, c.G), c)
}

func (p *Audit) table(r widget.Region, c Context) {
	head := min(max(r.H-3, 0), 1)
	p.height = max(r.H-head, 1)
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 1}, {Title: "TIME", Width: 12}, {Title: "SEQ", Width: 6, Right: true, Rank: 4}, {Title: "BY", Width: 10, Rank: 1}, {Title: "KIND", Width: 20, Rank: 5}, {Title: "ABOUT", Width: 8, Rank: 2}, {Title: "WHAT", Width: 20, Grow: true},
	}, r.W)
	if head == 1 {
		widget.Heads(r, 0, slots, c.G)
	}
	from, to := p.list.Fit(len(p.rows), p.height)
	if len(p.rows) == 0 {
		hint(r, "nothing to show")
	}
	for i := from; i < to; i++ {
		e, y := p.rows[i], head+i-from
		glyph, role := eventSign(e.Kind, e.Text, c.G)
		mark := ""
		if i == p.list.Cursor {
			mark = c.G.Select
		}
		texts := []string{mark, stamp(e.At, c.Now), strconv.FormatUint(uint64(e.Seq), 10), e.By, string(e.Kind), e.Subject, glyph + " " + e.Text}
		for _, s := range slots {
			cell := theme.Text
			switch {
			case s.Index == 6 && role != theme.Muted:
				cell = role
			case s.Index == 1 || s.Index == 2:
				cell = theme.Muted
			}
			s.Cell(r, y, cell, texts[s.Index], c.G)
		}
		if i == p.list.Cursor {
			r.Choose(y)
		}
	}
}

func (p *Audit) entry(r widget.Region, c Context) {
	e := p.at()
	inner := widget.Panel{Title: "entry " + strconv.FormatUint(uint64(e.Seq), 10), Foot: "esc closes"}.Draw(r, c.G)
	inner.PutCut(0, 0, inner.W, theme.Muted, fmt.Sprintf("%s  %s  by %s  %s", e.At.UTC().Format("2006-01-02 15:04:05.000Z"), e.Kind, e.By, e.Subject), c.G.Ellipsis)
	for i, line := range widget.Wrap(e.Text, inner.W) {
		inner.Put(0, 1+i, theme.Text, line)
	}
}
