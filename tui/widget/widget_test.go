package widget

import (
	"slices"
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{Short(0), "0"}, {Short(0.42), "0.42"}, {Short(9.996), "10"}, {Short(12.34), "12.3"}, {Short(999.4), "999"}, {Short(999.9), "1k"}, {Short(1842), "1.84k"}, {Short(-3e6), "-3M"},
		{Millis(0), "-"}, {Millis(0.84), "0.8ms"}, {Millis(21.4), "21ms"}, {Millis(999.6), "1.0s"}, {Millis(1234), "1.2s"},
		{Percent(0), "0%"}, {Percent(0.00001), "<0.01%"}, {Percent(0.0042), "0.42%"}, {Percent(0.125), "12.5%"}, {Percent(1), "100%"},
		{Bytes(0), "0B"}, {Bytes(512), "512B"}, {Bytes(100 << 20), "100Mi"}, {Bytes(1200 << 20), "1.2Gi"},
		{Age(-time.Second), "0s"}, {Age(41 * time.Second), "41s"}, {Age(72 * time.Second), "1m12s"}, {Age(40 * time.Minute), "40m"}, {Age(124 * time.Minute), "2h4m"}, {Age(49 * time.Hour), "2d1h"},
		{Clock(898 * time.Second), "14:58"}, {Plural(1, "line"), "1 line"}, {Plural(2, "line"), "2 lines"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestListKeepsTheCursorInItsWindow(t *testing.T) {
	t.Parallel()
	var l List
	for _, c := range []struct {
		key      string
		n, h     int
		from, to int
		cursor   int
	}{
		{"G", 100, 10, 90, 100, 99}, {"k", 100, 10, 90, 100, 98}, {"g", 100, 10, 0, 10, 0}, {"k", 100, 10, 0, 10, 0}, {"pgdown", 100, 10, 1, 11, 10},
		{"ctrl+d", 100, 10, 6, 16, 15}, {"j", 3, 10, 0, 3, 2}, {"j", 0, 10, 0, 0, 0},
	} {
		if !l.Key(c.key, c.n, c.h) {
			t.Fatalf("%s is not known", c.key)
		}
		if from, to := l.Fit(c.n, c.h); from != c.from || to != c.to || l.Cursor != c.cursor {
			t.Errorf("%s of %d: %d-%d, cursor %d; want %+v", c.key, c.n, from, to, l.Cursor, c)
		}
	}
	if l.Key("x", 10, 10) {
		t.Error("x is not a list's key")
	}
}

func TestLayoutLeavesOutWhatMattersLeast(t *testing.T) {
	t.Parallel()
	columns := []Column{{Title: "a", Width: 5}, {Title: "b", Width: 5, Rank: 2}, {Title: "c", Width: 5, Rank: 1, Grow: true}}
	titles := func(w int) (out []string) {
		for _, s := range Layout(columns, w) {
			out = append(out, s.Title)
			if s.X+s.Width > w {
				t.Errorf("in %d: %s ends at %d", w, s.Title, s.X+s.Width)
			}
		}
		return out
	}
	for w, want := range map[int][]string{30: {"a", "b", "c"}, 19: {"a", "b", "c"}, 18: {"a", "c"}, 11: {"a"}, 3: {"a"}} {
		if got := titles(w); !slices.Equal(got, want) {
			t.Errorf("in %d: %v, want %v", w, got, want)
		}
	}
	if s := Layout(columns, 40); s[2].Width != 40-14 {
		t.Errorf("the growing column is %d wide", s[2].Width)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		w    int
		want []string
	}{
		{"one two three", 7, []string{"one two", "three"}}, {"abcdefgh ij", 3, []string{"abc", "def", "gh", "ij"}}, {"", 5, []string{""}}, {"a\nb", 5, []string{"a", "b"}},
		{"it abcdefgh ij", 3, []string{"it", "abc", "def", "gh", "ij"}},
	} {
		if got := Wrap(c.text, c.w); !slices.Equal(got, c.want) {
			t.Errorf("Wrap(%q, %d) = %q, want %q", c.text, c.w, got, c.want)
		}
	}
}
