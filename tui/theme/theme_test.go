package theme

import (
	"strings"
	"testing"
)

func TestEveryThemeTellsSelectedRowsApart(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		th, err := New(name)
		if err != nil {
			t.Fatal(err)
		}
		for r := range Prod { // those from Prod on never stand in rows
			if th.Open(r, false) == th.Open(r, true) {
				t.Errorf("%s: role %d looks the same when it is selected: %q", name, r, th.Open(r, true))
			}
		}
		for _, pair := range [][2]Role{{OK, Bad}, {Stable, Candidate}, {Prod, Env}} {
			if name != "none" && th.Open(pair[0], false) == th.Open(pair[1], false) {
				t.Errorf("%s: roles %v look the same", name, pair)
			}
		}
	}
	if _, err := New("pink"); err == nil || !strings.Contains(err.Error(), "light") {
		t.Errorf("got %v", err)
	}
}

func TestGlyphSetsAreWhole(t *testing.T) {
	t.Parallel()
	for _, r := range strings.Join(append(ASCII().Levels, ASCII().OK, ASCII().Arrow, ASCII().Full, ASCII().TopLeft), "") {
		if r > '~' {
			t.Errorf("%q is not ASCII", r)
		}
	}
	if len(ASCII().Levels) != len(Unicode().Levels) {
		t.Error("the sparklines differ in their levels")
	}
}
