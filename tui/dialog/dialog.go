// Package dialog has the boxes that lie over a page: choices, prompts, plans with their typed confirmation, and notices.
package dialog

import (
	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Outcome is what became of a dialog after a key.
type Outcome int

// The outcomes.
const (
	Open     Outcome = iota // it stays
	Canceled                // nothing is to be done
	Accepted                // what was asked for is to be done
)

// Dialog is a box over the page.
type Dialog interface {
	// Draw draws the box within the screen.
	Draw(screen widget.Region, g theme.Glyphs)
	// Update takes a key or a paste.
	Update(msg tea.Msg) Outcome
	// Guarded reports whether keys that were on their way when the dialog opened must not reach it.
	Guarded() bool
}

// box clears a place for a dialog of w by h cells, a little above the middle, and draws its panel.
func box(screen widget.Region, w, h int, p widget.Panel, g theme.Glyphs) widget.Region {
	w, h = min(w, screen.W), min(h, screen.H)
	r := screen.Sub((screen.W-w)/2, max((screen.H-h)/3, 0), w, h)
	r.Clear()
	p.Focus = true
	return p.Draw(r, g)
}

func key(msg tea.Msg) string {
	if k, ok := msg.(tea.KeyPressMsg); ok {
		return k.String()
	}
	return ""
}
