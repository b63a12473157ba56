// Package render writes answers for people and programs: aligned tables, words with a glyph and a colour, ages, JSON, YAML.
package render

import (
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// Tone is what a word means to the reader. It shows as a glyph, as the word itself and as a colour, so that any one of
// them may be missing.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Busy
	Idle
)

// Style says what the reader's terminal can show.
type Style struct {
	Color bool
	ASCII bool // only ASCII glyphs
}

var (
	glyphs = map[Tone]string{Good: "✓", Warn: "▲", Bad: "✗", Busy: "●", Idle: "○"}
	plain  = map[Tone]string{Good: "+", Warn: "!", Bad: "x", Busy: "*", Idle: "-"}
)

// Mark is the words with the tone's glyph before them, coloured.
func (s Style) Mark(t Tone, words string) string {
	glyph := glyphs[t]
	if s.ASCII {
		glyph = plain[t]
	}
	return s.Paint(t, strings.TrimSpace(glyph+" "+words))
}

// Paint colours the words.
func (s Style) Paint(t Tone, words string) string {
	if !s.Color || words == "" {
		return words
	}
	style := lipgloss.NewStyle()
	switch t {
	case Good:
		style = style.Foreground(lipgloss.Green)
	case Warn:
		style = style.Foreground(lipgloss.Yellow)
	case Bad:
		style = style.Foreground(lipgloss.Red).Bold(true)
	case Busy:
		style = style.Foreground(lipgloss.Cyan)
	case Idle:
		style = style.Faint(true)
	default:
		return words
	}
	return style.Render(words)
}

// Strong is the words in bold.
func (s Style) Strong(words string) string {
	if !s.Color {
		return words
	}
	return lipgloss.NewStyle().Bold(true).Render(words)
}

// Arrow points from one thing to the next.
func (s Style) Arrow() string {
	if s.ASCII {
		return "->"
	}
	return "→"
}

// Bar draws a share of 0 to 1 as a bar of so many columns.
func (s Style) Bar(columns int, share float64) string {
	full, empty := "█", "░"
	if s.ASCII {
		full, empty = "#", "."
	}
	n := min(max(int(share*float64(columns)+0.5), 0), columns)
	return s.Paint(Busy, strings.Repeat(full, n)) + s.Paint(Idle, strings.Repeat(empty, columns-n))
}

// Clean takes out what would move the cursor or change the terminal: words that others wrote are shown, never obeyed.
func Clean(text string) string {
	if strings.IndexFunc(text, odd) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case odd(r):
			return -1
		}
		return r
	}, ansi.Strip(text))
}

// odd are control characters, and those that reorder text around them (Unicode's bidirectional controls).
func odd(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
