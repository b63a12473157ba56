// Package page has the console's pages. A page draws a snapshot and keeps no more than where its cursor is; it performs
// no I/O.
package page

import (
	"time"

	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Context is what a page draws.
type Context struct {
	Snap *store.Snapshot
	Now  time.Time
	G    theme.Glyphs
}

// Page is one screen of the console.
type Page interface {
	// Draw draws the page over the region, whatever its size.
	Draw(r widget.Region, c Context)
	// Key takes a key and reports whether the page knew it.
	Key(key string, c Context) bool
	// Filter shows only what contains the text; empty shows all.
	Filter(text string)
	// Selection is what the cursor is on.
	Selection(c Context) action.Selection
}

// Small reports whether a region has only room for one list.
func Small(r widget.Region) bool { return r.W < 60 || r.H < 12 }

// Wide reports whether a region has room for panes side by side.
func Wide(r widget.Region) bool { return r.W >= 160 && r.H >= 20 }

// panes is the part of a page that chooses which panel has the keys, and whether it fills the page.
type panes struct {
	focus, count int
	zoomed       bool
}

// key takes tab, shift+tab and z.
func (p *panes) key(key string) bool {
	switch key {
	case "tab":
		p.focus = (p.focus + 1) % max(p.count, 1)
	case "shift+tab":
		p.focus = (p.focus + p.count - 1) % max(p.count, 1)
	case "z":
		p.zoomed = !p.zoomed
	default:
		return false
	}
	return true
}

// stack places n panels with the wanted heights one above the other; the last takes what is left. A panel for which
// there is no room gets none.
func stack(r widget.Region, heights ...int) []widget.Region {
	out := make([]widget.Region, len(heights))
	y := 0
	for i, h := range heights {
		if i == len(heights)-1 {
			h = r.H - y
		}
		if h < 3 || y+h > r.H {
			h = max(r.H-y, 0)
		}
		if h < 3 {
			out[i] = r.Sub(0, y, 0, 0)
			continue
		}
		out[i] = r.Sub(0, y, r.W, h)
		y += h
	}
	return out
}

// hint draws a sentence in the middle of an empty panel.
func hint(r widget.Region, lines ...string) {
	y := max((r.H-len(lines))/2, 0)
	for i, l := range lines {
		r.Put(max((r.W-widget.Width(l))/2, 0), y+i, theme.Muted, l)
	}
}
