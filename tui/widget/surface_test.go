package widget

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/covetpy/covet/tui/theme"
)

func TestPutStaysInsideItsRegion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"short", "ab", "..ab.."},
		{"cut at the edge", "abcdef", "..abc."},
		{"wide at the edge", "a店店", "..a店."},
		{"wide half over the edge", "ab店", "..ab.."},
		{"escape sequences", "\x1b[31ma\x1b]0;title\x07b", "..ab.."},
		{"control characters", "a\nb", "..a b."},
		{"turned text", "a\u202eb", "..ab.."},
		{"combining", "e\u0301a", "..e\u0301a.."},
		{"invalid", "a\xffb", "..ab.."},
	} {
		s := NewSurface(6, 1)
		s.All().Fill(0, 0, 6, theme.Text, ".")
		s.All().Sub(2, 0, 3, 1).Put(0, 0, theme.Text, c.text)
		if got := s.Lines()[0]; got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOverwritingHalfAWideGlyph(t *testing.T) {
	t.Parallel()
	for at, want := range []string{"x 店", " x店", "店x", "店 x"} {
		s := NewSurface(4, 1)
		s.All().Put(0, 0, theme.Text, "店店")
		s.All().Put(at, 0, theme.Text, "x")
		if got := s.Lines()[0]; got != want {
			t.Errorf("at %d: got %q, want %q", at, got, want)
		}
		if w := ansi.StringWidth(s.Lines()[0]); w > 4 {
			t.Errorf("at %d: %d wide", at, w)
		}
	}
}

func TestRenderStylesOnlyWhatChanges(t *testing.T) {
	t.Parallel()
	th, err := theme.New("16")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSurface(20, 2)
	s.All().Put(0, 0, theme.OK, "good")
	s.All().Put(4, 0, theme.OK, "er")
	s.All().Put(0, 1, theme.Text, "plain")
	got := s.Render(th)
	if strings.Count(got, "\x1b") != 2 || ansi.Strip(got) != "gooder\nplain" {
		t.Errorf("got %q", got)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		w    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"店店店", 5, "店店…"}, {"店店", 3, "店…"}, {"abc", 0, ""}, {"", 4, ""}} {
		if got := Cut(c.text, c.w, "…"); got != c.want || Width(got) > c.w {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.text, c.w, got, c.want)
		}
	}
}

func TestPlainSurfaceKeepsLetters(t *testing.T) {
	t.Parallel()
	s := NewSurface(20, 1)
	s.Plain(true)
	s.All().Put(0, 0, theme.Text, "v1 → 店 … é")
	if got := s.Lines()[0]; got != "v1 > 店 ~ é" {
		t.Errorf("got %q", got)
	}
}

func FuzzPut(f *testing.F) {
	f.Add("a店\x1b[31m\u0301\u200d", 3)
	f.Fuzz(func(t *testing.T, text string, w int) {
		w = min(max(w, 0), 50)
		s := NewSurface(w, 1)
		s.All().Put(0, 0, theme.Text, text)
		th, err := theme.New("none")
		if err != nil {
			t.Fatal(err)
		}
		out := s.Render(th)
		if got := ansi.StringWidth(out); got > w || strings.ContainsAny(out, "\n\r\x1b") {
			t.Fatalf("%q in %d columns is %q, %d wide", text, w, out, got)
		}
		if cut := Cut(text, w, "~"); w > 0 && Width(cut) > w {
			t.Fatalf("Cut(%q, %d) is %d wide", text, w, Width(cut))
		}
	})
}
