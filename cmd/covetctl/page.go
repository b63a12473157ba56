package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/covetpy/covet/internal/render"
)

// page is an answer for a person in the making.
type page struct {
	render.Style
	now time.Time
	b   strings.Builder
}

func (a *app) page() *page { return &page{Style: a.style(a.out), now: a.now()} }

// line adds a line. What others wrote must have been cleaned.
func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.b, format, args...)
	p.b.WriteByte('\n')
}

// field adds a name and its value, unless there is none.
func (p *page) field(name, value string) {
	if value != "" {
		p.line("%s  %s", p.Paint(render.Idle, fmt.Sprintf("%-12s", name)), value)
	}
}

func (p *page) table(t *render.Table) {
	if _, err := t.WriteTo(&p.b); err != nil {
		panic("covetctl: a strings.Builder takes everything: " + err.Error())
	}
}

func (p *page) newTable(headings ...string) *render.Table {
	return render.NewTable(p.Style, headings...)
}

func (p *page) age(t time.Time) string { return render.Age(p.now, t) }

func (p *page) flush(w io.Writer) error {
	_, err := io.WriteString(w, p.b.String())
	return err
}
