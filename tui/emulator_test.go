package tui

import (
	"fmt"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"
)

// emulator is a terminal: it takes the bytes that a program writes and keeps the screen that a person would see. It does
// what Bubble Tea's renderer asks for and notes what it does not know.
type emulator struct {
	mu       sync.Mutex
	w, h     int
	cells    [][]glyph
	x, y     int
	top, end int  // scrolling region, rows [top, end)
	wrap     bool // the last column was written: the next glyph goes to the next row
	saved    [2]int
	alt      bool
	unknown  []string
	styles   map[string]bool // every SGR seen
	parser   *ansi.Parser
	bytes    int
}

type glyph struct {
	text string // empty: blank, or the second half of a wide one
	half bool
}

func newEmulator(w, h int) *emulator {
	e := &emulator{styles: map[string]bool{}, parser: ansi.NewParser()}
	e.size(w, h)
	e.parser.SetHandler(ansi.Handler{Print: e.print, Execute: e.execute, HandleCsi: e.csi, HandleEsc: e.esc})
	return e
}

func (e *emulator) size(w, h int) {
	e.w, e.h, e.top, e.end = w, h, 0, h
	e.cells = make([][]glyph, h)
	for y := range e.cells {
		e.cells[y] = make([]glyph, w)
	}
	e.x, e.y = 0, 0
}

// Write implements io.Writer.
func (e *emulator) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bytes += len(p)
	for _, b := range p {
		e.parser.Advance(b)
	}
	return len(p), nil
}

// screen is what is to be seen, without trailing blanks.
func (e *emulator) screen() string {
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

// written is how many bytes have come.
func (e *emulator) written() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bytes
}

func (e *emulator) print(r rune) {
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
	e.put(e.x, glyph{text: string(r)})
	if w == 2 {
		e.put(e.x+1, glyph{half: true})
	}
	e.x += w
	if e.x >= e.w {
		e.x, e.wrap = e.w-1, true
	}
}

func (e *emulator) put(x int, g glyph) {
	row := e.cells[e.y]
	if row[x].half && !g.half && x > 0 {
		row[x-1] = glyph{}
	}
	if !row[x].half && x+1 < e.w && row[x+1].half {
		row[x+1] = glyph{}
	}
	row[x] = g
}

func (e *emulator) feed() {
	if e.y == e.end-1 {
		e.scroll(1)
		return
	}
	e.y = min(e.y+1, e.h-1)
}

// scroll moves the scrolling region up by n rows, or down by -n.
func (e *emulator) scroll(n int) {
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

func (e *emulator) execute(b byte) {
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

func (e *emulator) esc(cmd ansi.Cmd) {
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

func (e *emulator) csi(cmd ansi.Cmd, params ansi.Params) {
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
			params.ForEach(0, func(_, p int, _ bool) { e.styles[fmt.Sprint(p)] = true })
		case 'r':
			e.top, e.end = arg(0, 1)-1, min(arg(1, e.h), e.h)
			e.x, e.y = 0, e.top
		case 'h', 'l', 't', 'n', 'c', 'q':
		default:
			e.unknown = append(e.unknown, fmt.Sprintf("CSI %c", cmd.Final()))
		}
	}
}

// move does what only moves the cursor.
func (e *emulator) move(final byte, arg func(i, def int) int) bool {
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
func (e *emulator) edit(final byte, arg func(i, def int) int) bool {
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

func (e *emulator) erase(mode int, rows [][]glyph) {
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

func (e *emulator) lines(final byte, n int) {
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
