// Package theme says how the console's meanings look: a cell of the screen carries a Role, never a colour, and a Theme
// turns roles into terminal styles. So a theme can change while the console runs and nothing has to be drawn anew.
package theme

import (
	"fmt"
	"image/color"
	"strings"

	"charm.land/lipgloss/v2"
)

// Role is what a piece of text means.
type Role uint8

// The roles.
const (
	Text      Role = iota // ordinary text
	Strong                // ordinary text that matters
	Muted                 // labels, units, ages
	Border                // lines around panels
	Focus                 // the border of the panel that has the keys
	Title                 // a panel's name
	Accent                // what can be pressed, the cursor
	OK                    // as it should be
	Warn                  // near its limit, or waiting
	Bad                   // wrong
	Info                  // neutral news
	Stable                // the release that serves
	Candidate             // the candidate
	Third                 // a third line in a chart
	Stale                 // values from before the connection was lost
	Prod                  // the name of the production environment
	Env                   // the name of any other environment
	Write                 // write mode is on
	Cursor                // the text cursor in a field
	roles
)

// Theme is one look.
type Theme struct {
	Name string
	open [roles][2]string // by role; the second is for selected rows
}

// Open is the sequence that begins text of the role. Close ends it.
func (t *Theme) Open(r Role, selected bool) string {
	if selected {
		return t.open[r][1]
	}
	return t.open[r][0]
}

// Close is the sequence that ends styled text.
const Close = "\x1b[m"

// Names lists the themes a person may choose.
func Names() []string { return []string{"dark", "light", "colour-blind", "16", "none"} }

// New makes a theme by name: dark, light, colour-blind, 16 (only the terminal's own sixteen colours) or none (bold and
// reverse only).
func New(name string) (*Theme, error) {
	switch name {
	case "", "dark":
		return compile("dark", dark()), nil
	case "light":
		return compile("light", light()), nil
	case "colour-blind", "color-blind":
		return compile("colour-blind", colourBlind()), nil
	case "16":
		return compile("16", sixteen()), nil
	case "none":
		return compile("none", none()), nil
	}
	return nil, fmt.Errorf("theme %q is not known: choose one of %s", name, strings.Join(Names(), ", "))
}

// look is what one role looks like; a nil colour is the terminal's own.
type look struct {
	fg, bg  color.Color
	bold    bool
	reverse bool
	faint   bool
}

// palette is a look for every role and one for the selected row.
type palette struct {
	looks  [roles]look
	chosen look
}

func compile(name string, p palette) *Theme {
	t := &Theme{Name: name}
	for r, l := range p.looks {
		t.open[r][0] = sequence(l)
		chosen := l
		if chosen.bg == nil {
			chosen.bg = p.chosen.bg
		}
		chosen.bold = chosen.bold || p.chosen.bold
		chosen.reverse = chosen.reverse != p.chosen.reverse
		if chosen.reverse {
			chosen.fg = nil
		}
		t.open[r][1] = sequence(chosen)
	}
	return t
}

// sequence has Lip Gloss render a mark in the style and keeps what comes before it, so that drawing is only copying.
func sequence(l look) string {
	s := lipgloss.NewStyle().Bold(l.bold).Reverse(l.reverse).Faint(l.faint)
	if l.fg != nil {
		s = s.Foreground(l.fg)
	}
	if l.bg != nil {
		s = s.Background(l.bg)
	}
	before, _, _ := strings.Cut(s.Render("x"), "x")
	return before
}
