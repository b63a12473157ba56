package page

import (
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Logs follows what instances write.
type Logs struct {
	view   func() store.TailView
	note   string
	query  console.LogQuery
	filter string
	back   int // lines between the newest and the last one on the screen; 0 follows
	side   int // columns to the left of the screen
	height int
	seen   uint64
}

// NewLogs makes the page over a tail.
func NewLogs(t *store.Tail) *Logs { return &Logs{view: t.View, note: t.Note, query: t.Query} }

// Filter shows only lines in which the text occurs.
func (p *Logs) Filter(text string) { p.filter, p.back = strings.ToLower(text), 0 }

// Selection is whose log it is.
func (p *Logs) Selection(Context) action.Selection {
	return action.Selection{Instance: p.query.Instance, Release: p.query.Release}
}

// Key scrolls; going back in time stops following, G and f follow again.
func (p *Logs) Key(key string, _ Context) bool {
	switch key {
	case "k", "up":
		p.back++
	case "j", "down":
		p.back--
	case "pgup", "ctrl+b":
		p.back += p.height
	case "pgdown", "ctrl+f":
		p.back -= p.height
	case "ctrl+u":
		p.back += p.height / 2
	case "ctrl+d":
		p.back -= p.height / 2
	case "g", "home":
		p.back = 1 << 30
	case "G", "end", "f":
		p.back = 0
	case "h", "left":
		p.side -= 16
	case "l", "right":
		p.side += 16
	default:
		return false
	}
	p.back, p.side = max(p.back, 0), max(p.side, 0)
	return true
}

// Draw draws the newest lines, or those gone back to.
func (p *Logs) Draw(r widget.Region, c Context) {
	v := p.view()
	if p.back > 0 { // hold what is read where it is
		p.back += int(v.Version - p.seen)
	}
	p.seen = v.Version
	lines := p.chosen(v.Lines)
	inner := r
	if !Small(r) {
		inner = p.panel(v, len(lines), c).Draw(r, c.G)
	}
	p.height = max(inner.H, 1)
	p.back = min(p.back, max(len(lines)-inner.H, 0))
	if len(lines) == 0 {
		hint(inner, p.none(v, c))
	}
	end := len(lines) - p.back
	for i, l := range lines[max(end-inner.H, 0):end] {
		p.line(inner, i, c, l)
	}
}

func (p *Logs) panel(v store.TailView, n int, c Context) widget.Panel {
	of := "all instances"
	if p.query.Instance != "" {
		of = p.query.Instance
	} else if p.query.Release != "" {
		of = p.query.Release
	}
	state, role := c.G.OK+" following", theme.OK
	switch {
	case p.note != "":
		state, role = p.note, theme.Warn
	case v.Problem != "":
		state, role = c.G.Warn+" "+v.Problem, theme.Warn
	case p.back > 0:
		state, role = fmt.Sprintf("%s %d lines back, G follows", c.G.Pause, p.back), theme.Warn
	}
	return widget.Panel{Title: "log of " + of, State: state, Role: role, Note: widget.Plural(n, "line"), Foot: "j/k scroll " + c.G.Dot + " h/l sideways " + c.G.Dot + " / filters", Focus: true}
}

func (p *Logs) none(v store.TailView, c Context) string {
	switch {
	case v.Problem != "":
		return v.Problem
	case p.filter != "":
		return "no line has " + p.filter + " in it " + c.G.Dot + " esc shows all"
	}
	return "nothing has been written yet"
}

func (p *Logs) chosen(lines []console.LogLine) []console.LogLine {
	if p.filter == "" {
		return lines
	}
	var out []console.LogLine
	for _, l := range lines {
		if strings.Contains(strings.ToLower(l.Text), p.filter) || strings.Contains(strings.ToLower(l.Instance), p.filter) {
			out = append(out, l)
		}
	}
	return out
}

func (p *Logs) line(r widget.Region, y int, c Context, l console.LogLine) {
	x := 0
	if r.W >= 60 {
		x = r.Put(0, y, theme.Muted, l.At.UTC().Format("15:04:05.000")+" ")
	}
	if p.query.Instance == "" {
		x = r.PutCut(x, y, 16, theme.Stable, l.Instance, c.G.Ellipsis) + 1
	}
	role := theme.Text
	if l.Stream == "stderr" {
		role = theme.Warn
	}
	text := r.Sub(x, y, r.W-x, 1)
	if end := text.Put(-p.side, 0, role, l.Text); end >= text.W && widget.Width(l.Text)-p.side > text.W {
		text.Put(text.W-1, 0, theme.Muted, c.G.Ellipsis)
	}
}
