package render

import (
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Table is rows of cells under headings, aligned. A heading that begins with ">" aligns its column to the right.
type Table struct {
	Style Style
	head  []string
	right []bool
	rows  [][]string
}

// NewTable begins a table.
func NewTable(s Style, headings ...string) *Table {
	t := &Table{Style: s}
	for _, h := range headings {
		word, right := strings.CutPrefix(h, ">")
		t.head = append(t.head, word)
		t.right = append(t.right, right)
	}
	return t
}

// Row adds a row. Cells may hold the Style's own colours and nothing else that is special to a terminal.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// WriteTo writes the headings and the rows.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	var b strings.Builder
	head := make([]string, len(t.head))
	for i, h := range t.head {
		head[i] = t.Style.Paint(Idle, h)
	}
	for _, row := range append([][]string{head}, t.rows...) {
		t.line(&b, widths, row)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

const gap = 2

func (t *Table) line(b *strings.Builder, widths []int, row []string) {
	pending := 0 // spaces are written only before something, so that no line ends in them
	for i, cell := range row {
		width := ansi.StringWidth(cell)
		before, after := 0, widths[i]-width
		if t.right[i] {
			before, after = after, 0
		}
		pending += before
		if cell != "" {
			b.WriteString(strings.Repeat(" ", pending))
			b.WriteString(cell)
			pending = 0
		} else {
			after = widths[i] - before
		}
		pending += after + gap
	}
	b.WriteByte('\n')
}
