package dialog

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Prompt asks before something is done: for a text, or for a word that must be typed exactly, or only whether.
type Prompt struct {
	Title string
	Lines []string
	Label string // of the field; empty for none
	Must  string // what must be typed before enter does anything
	Need  bool   // the field must not be empty
	Do    string // what enter does

	field Field
}

// NewPrompt makes the prompt with an empty field.
func NewPrompt(p Prompt) *Prompt {
	p.field = NewField(400)
	return &p
}

// Value is what was typed.
func (p *Prompt) Value() string { return strings.TrimSpace(p.field.Value()) }

// Guarded is true: enter does something.
func (p *Prompt) Guarded() bool { return true }

func (p *Prompt) armed() bool {
	if p.Must != "" {
		return p.Value() == p.Must
	}
	return !p.Need || p.Value() != ""
}

// Update edits the field; enter accepts once all is there.
func (p *Prompt) Update(msg tea.Msg) Outcome {
	switch key(msg) {
	case "esc":
		return Canceled
	case "enter":
		if p.armed() {
			return Accepted
		}
		return Open
	}
	if p.Label != "" {
		p.field.Update(msg)
	}
	return Open
}

// Draw draws the box.
func (p *Prompt) Draw(screen widget.Region, g theme.Glyphs) {
	w := min(screen.W-2, 76)
	var lines []string
	for _, l := range p.Lines {
		lines = append(lines, widget.Wrap(l, w-4)...)
	}
	h := len(lines) + 4
	if p.Label != "" {
		h += 2
	}
	r := box(screen, w, h, widget.Panel{Title: p.Title}, g)
	last := r.H - 1
	if p.Label != "" {
		last -= 2
		p.drawField(r, last+1, g)
	}
	for y, l := range lines {
		if y < last {
			r.Put(0, y, theme.Text, l)
		}
	}
	role, text := theme.Accent, "enter "+p.Do
	if !p.armed() {
		role = theme.Muted
	}
	r.Put(r.Put(0, r.H-1, role, text), r.H-1, theme.Muted, "  "+g.Dot+"  esc: nothing happens")
}

func (p *Prompt) drawField(r widget.Region, y int, g theme.Glyphs) {
	x := 0
	if p.Must != "" {
		x = r.Put(x, y-1, theme.Text, "type ")
		x = r.Put(x, y-1, theme.Strong, p.Must)
		r.Put(x, y-1, theme.Text, " to arm it")
		state, role := "not armed", theme.Muted
		if p.armed() {
			state, role = g.OK+" armed", theme.Warn
		}
		r.PutRight(r.W, y-1, role, state)
	} else {
		r.Put(0, y-1, theme.Muted, p.Label)
	}
	r.Put(0, y, theme.Accent, ">")
	p.field.Draw(r, 2, y, r.W-2, theme.Strong, true)
}
