package dialog

import (
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Field is one line of text that a person types.
type Field struct{ input textinput.Model }

// NewField makes an empty field that takes at most limit characters.
func NewField(limit int) Field {
	in := textinput.New()
	in.CharLimit = limit
	in.Focus()
	return Field{input: in}
}

// Value is what was typed.
func (f *Field) Value() string { return f.input.Value() }

// SetValue replaces what was typed.
func (f *Field) SetValue(text string) {
	f.input.SetValue(text)
	f.input.CursorEnd()
}

// Update takes a key or a paste. The field's own commands only make its cursor blink, which costs redraws: ours does not.
func (f *Field) Update(msg tea.Msg) {
	if p, ok := msg.(tea.PasteMsg); ok {
		for _, r := range p.Content {
			if r >= ' ' {
				f.input, _ = f.input.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
		}
		return
	}
	f.input, _ = f.input.Update(msg)
}

// Draw draws the text in w columns with its cursor, showing the end that is being typed at.
func (f *Field) Draw(r widget.Region, x, y, w int, role theme.Role, focus bool) {
	r = r.Sub(x, y, w, 1)
	text := []rune(f.input.Value())
	at := min(f.input.Position(), len(text))
	before := widget.Width(string(text[:at]))
	end := r.Put(min(w-1-before, 0), 0, role, string(text[:at]))
	if !focus {
		r.Put(end, 0, role, string(text[at:]))
		return
	}
	under, rest := " ", ""
	if at < len(text) {
		under, rest = string(text[at]), string(text[at+1:])
	}
	r.Put(r.Put(end, 0, theme.Cursor, under), 0, role, rest)
}
