// Package vterm is a terminal without a window, for tests and benchmarks of what is drawn on one.
package vterm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"
)

// Screen is a terminal: it takes the bytes that a program writes and keeps the screen that a person would see. It does
// what Bubble Tea's renderer asks for and notes what it does not know.
type Screen struct {
	mu       sync.Mutex
	w, h     int
	cells    [][]glyph
	x, y     int
	top, end int  // scrolling region, rows [top, end)
	wrap     bool // the last column was written: the next glyph goes to the next row
	saved    [2]int
	marked   bool // a background, or the colours the other way round
	alt      bool
	unknown  []string
	styles   map[string]bool // every SGR seen
	parser   *ansi.Parser
	bytes    int
}

type glyph struct {
	text string // empty: blank, or the second half of a wide one
	half bool
	mark bool
}

// New is an empty screen.
func New(w, h int) *Screen {
	e := &Screen{styles: map[string]bool{}, parser: ansi.NewParser()}
	e.size(w, h)
	e.parser.SetHandler(ansi.Handler{Print: e.print, Execute: e.execute, HandleCsi: e.csi, HandleEsc: e.esc})
	return e
}

func (e *Screen) size(w, h int) {
	e.w, e.h, e.top, e.end = w, h, 0, h
	e.cells = make([][]glyph, h)
	for y := range e.cells {
		e.cells[y] = make([]glyph, w)
	}
	e.x, e.y = 0, 0
}

// Write implements io.Writer.
func (e *Screen) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bytes += len(p)
	for _, b := range p {
		e.parser.Advance(b)
	}
	return len(p), nil
}

// Text is what is to be seen, without trailing blanks.
func (e *Screen) Text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := make([]string, e.h)
	for y, row := range e.cells {
		var b strings.Builder
		for _, c := range row {
			switch {
			case c.half:
			case c.text == "":
				b.WriteByte(' ')
			default:
				b.WriteString(c.text)
			}
		}
		lines[y] = strings.TrimRight(b.String(), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// Written is how many bytes have come.
func (e *Screen) Written() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bytes
}

func (e *Screen) print(r rune) {
	w := ansi.StringWidth(string(r))
	if w == 0 {
		if e.x > 0 {
			e.cells[e.y][e.x-1].text += string(r)
		}
		return
	}
	if e.wrap || e.x+w > e.w {
		e.x, e.wrap = 0, false
		e.feed()
	}
	if e.x+w > e.w {
		return
	}
	e.put(e.x, glyph{text: string(r), mark: e.marked})
	if w == 2 {
		e.put(e.x+1, glyph{half: true, mark: e.marked})
	}
	e.x += w
	if e.x >= e.w {
		e.x, e.wrap = e.w-1, true
	}
}

func (e *Screen) put(x int, g glyph) {
	row := e.cells[e.y]
	if row[x].half && !g.half && x > 0 {
		row[x-1] = glyph{}
	}
	if !row[x].half && x+1 < e.w && row[x+1].half {
		row[x+1] = glyph{}
	}
	row[x] = g
}

func (e *Screen) feed() {
	if e.y == e.end-1 {
		e.scroll(1)
		return
	}
	e.y = min(e.y+1, e.h-1)
}

// scroll moves the scrolling region up by n rows, or down by -n.
func (e *Screen) scroll(n int) {
	region := e.cells[e.top:e.end]
	for range min(max(n, -n), len(region)) {
		if n > 0 {
			copy(region, region[1:])
			region[len(region)-1] = make([]glyph, e.w)
		} else {
			copy(region[1:], region)
			region[0] = make([]glyph, e.w)
		}
	}
}

func (e *Screen) execute(b byte) {
	e.wrap = false
	switch b {
	case '\r':
		e.x = 0
	case '\n': // there is no pty between us to do it
		e.x = 0
		e.feed()
	case '\b':
		e.x = max(e.x-1, 0)
	case '\t':
		e.x = min((e.x/8+1)*8, e.w-1)
	}
}

func (e *Screen) esc(cmd ansi.Cmd) {
	switch cmd.Final() {
	case '7':
		e.saved = [2]int{e.x, e.y}
	case '8':
		e.x, e.y = e.saved[0], e.saved[1]
	case 'M':
		if e.y == e.top {
			e.scroll(-1)
		} else {
			e.y = max(e.y-1, 0)
		}
	default:
		e.unknown = append(e.unknown, fmt.Sprintf("ESC %c", cmd.Final()))
	}
}

func (e *Screen) csi(cmd ansi.Cmd, params ansi.Params) {
	arg := func(i, def int) int {
		v, _, ok := params.Param(i, def)
		if !ok || v == 0 && def > 0 {
			return def
		}
		return v
	}
	if cmd.Prefix() == '?' {
		if v := arg(0, 0); v == 1049 || v == 47 {
			e.alt = cmd.Final() == 'h'
			e.size(e.w, e.h)
		}
		return
	}
	if cmd.Prefix() != 0 || cmd.Intermediate() != 0 {
		return // keyboard modes and questions
	}
	e.wrap = e.wrap && cmd.Final() == 'm'
	if !e.move(cmd.Final(), arg) && !e.edit(cmd.Final(), arg) {
		switch cmd.Final() {
		case 'm':
			e.style(params)
		case 'r':
			e.top, e.end = arg(0, 1)-1, min(arg(1, e.h), e.h)
			e.x, e.y = 0, e.top
		case 'h', 'l', 't', 'n', 'c', 'q':
		default:
			e.unknown = append(e.unknown, fmt.Sprintf("CSI %c", cmd.Final()))
		}
	}
}

// style notes what the glyphs to come look like.
func (e *Screen) style(params ansi.Params) {
	if len(params) == 0 {
		e.marked = false
	}
	skip := 0 // what belongs to the colour before it
	params.ForEach(0, func(i, p int, _ bool) {
		e.styles[fmt.Sprint(p)] = true
		if skip > 0 {
			skip--
			return
		}
		switch {
		case p == 38 || p == 48:
			e.marked = e.marked || p == 48
			if kind, _, ok := params.Param(i+1, 0); ok {
				skip = map[int]int{2: 4, 5: 2}[kind]
			}
		case p == 7, p >= 40 && p < 48, p >= 100 && p < 108:
			e.marked = true
		case p == 0, p == 27, p == 49:
			e.marked = false
		}
	})
}

// Marked is the row most of which is drawn on a background of its own, as the selected one is; -1 where there is none.
func (e *Screen) Marked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	row, most := -1, e.w/3
	for y := range e.cells {
		n := 0
		for _, c := range e.cells[y] {
			if c.mark {
				n++
			}
		}
		if n > most {
			row, most = y, n
		}
	}
	return row
}

// Unknown is what was written that this terminal does not know.
func (e *Screen) Unknown() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.unknown)
}

// Styles are the graphic renditions that were ever asked for.
func (e *Screen) Styles() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.styles)
}

// Alternate reports whether the alternate screen is shown.
func (e *Screen) Alternate() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.alt
}

// move does what only moves the cursor.
func (e *Screen) move(final byte, arg func(i, def int) int) bool {
	n := arg(0, 1)
	switch final {
	case 'A':
		e.y -= n
	case 'B':
		e.y += n
	case 'C':
		e.x += n
	case 'D':
		e.x -= n
	case 'E':
		e.x, e.y = 0, e.y+n
	case 'F':
		e.x, e.y = 0, e.y-n
	case 'G', '`':
		e.x = n - 1
	case 'd':
		e.y = n - 1
	case 'H', 'f':
		e.y, e.x = n-1, arg(1, 1)-1
	case 'I':
		e.x = (e.x/8 + n) * 8
	case 'Z':
		e.x = max((e.x+7)/8-n, 0) * 8
	default:
		return false
	}
	e.x, e.y = min(max(e.x, 0), e.w-1), min(max(e.y, 0), e.h-1)
	return true
}

// edit does what changes cells where they are.
func (e *Screen) edit(final byte, arg func(i, def int) int) bool {
	row := e.cells[e.y]
	n := arg(0, 1)
	switch final {
	case 'J':
		e.erase(arg(0, 0), e.cells)
	case 'K':
		from, to := [3]int{e.x, 0, 0}[arg(0, 0)], [3]int{e.w, e.x + 1, e.w}[arg(0, 0)]
		clear(row[from:to])
	case 'X':
		clear(row[e.x:min(e.x+n, e.w)])
	case 'P':
		n = min(n, e.w-e.x)
		copy(row[e.x:], row[e.x+n:])
		clear(row[e.w-n:])
	case '@':
		n = min(n, e.w-e.x)
		copy(row[e.x+n:], row[e.x:])
		clear(row[e.x : e.x+n])
	case 'b':
		if e.x > 0 {
			g := row[e.x-1]
			if e.wrap {
				g = row[e.x]
			}
			for range n {
				e.print([]rune(g.text + " ")[0])
			}
		}
	case 'L', 'M', 'S', 'T':
		e.lines(final, n)
	default:
		return false
	}
	return true
}

func (e *Screen) erase(mode int, rows [][]glyph) {
	for y := range rows {
		switch {
		case mode == 2 || mode == 3 || mode == 0 && y > e.y || mode == 1 && y < e.y:
			clear(rows[y])
		case y == e.y && mode == 0:
			clear(rows[y][e.x:])
		case y == e.y && mode == 1:
			clear(rows[y][:e.x+1])
		}
	}
}

func (e *Screen) lines(final byte, n int) {
	top := e.top
	if final == 'L' || final == 'M' {
		e.top = e.y
	}
	if final == 'L' || final == 'T' {
		n = -n
	}
	e.scroll(n)
	e.top = top
}
