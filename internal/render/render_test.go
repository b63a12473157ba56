package render

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestTableAligns(t *testing.T) {
	t.Parallel()
	table := NewTable(Style{}, "NAME", ">N", "NOTE")
	table.Row("größe", "7", "")
	table.Row("日本", "1234", "wide")
	table.Row("", "", "last")
	var b bytes.Buffer
	if _, err := table.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME      N  NOTE\n" +
		"größe     7\n" +
		"日本   1234  wide\n" +
		"             last\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestColourDoesNotMoveColumns(t *testing.T) {
	t.Parallel()
	draw := func(s Style) string {
		table := NewTable(s, "STATE", "X")
		table.Row(s.Mark(Bad, "failed"), "x")
		table.Row(s.Mark(Good, "ok"), "y")
		var b bytes.Buffer
		if _, err := table.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	coloured := draw(Style{Color: true})
	if !strings.Contains(coloured, "\x1b[") {
		t.Fatal("no colour where colour is wanted")
	}
	for i, line := range strings.Split(coloured, "\n") {
		if want := strings.Split(draw(Style{}), "\n")[i]; Clean(line) != want {
			t.Errorf("%q, want %q", Clean(line), want)
		}
	}
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	t.Parallel()
	in := struct {
		Z     string         `json:"z"`
		A     []int          `json:"a"`
		No    string         `json:"no"`
		Empty []string       `json:"empty"`
		Odd   map[string]any `json:"odd"`
		Big   uint64         `json:"big"`
	}{"v1.0", []int{1, 2}, "no", []string{}, map[string]any{"1": "1", "multi": "a\nb", "emoji": "✓ <&>\u2028", "null": nil}, 1 << 63}
	var y, j bytes.Buffer
	if err := YAML(&y, in); err != nil {
		t.Fatal(err)
	}
	if err := JSON(&j, in); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(y.String(), "z: v1.0\na:\n") {
		t.Errorf("order or style lost:\n%s", y.String())
	}
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal(y.Bytes(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &fromYAML); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(j.Bytes(), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromYAML, fromJSON) {
		t.Errorf("YAML says %v, JSON says %v", fromYAML, fromJSON)
	}
}

func TestMeasures(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := []struct{ got, want string }{
		{Age(now, now.Add(-300*time.Millisecond)), "now"},
		{Age(now, now.Add(time.Minute)), "now"},
		{Age(now, now.Add(-192*time.Second)), "3m12s ago"},
		{Age(now, time.Time{}), "never"},
		{Span(5 * time.Hour), "5h"},
		{Span(76 * time.Hour), "3d4h"},
		{Span(250 * time.Millisecond), "250ms"},
		{Span(-3 * time.Second), "-3s"},
		{Millis(0), "-"},
		{Millis(4.25), "4.2ms"},
		{Millis(125), "125ms"},
		{Millis(12_345), "12.3s"},
		{Rate(3.14), "3.1"},
		{Rate(412.6), "413"},
		{Percent(0), "0%"},
		{Percent(0.00001), "<0.01%"},
		{Percent(0.0123), "1.23%"},
		{Percent(0.5), "50.0%"},
		{Bytes(512), "512 B"},
		{Bytes(48 << 20), "48.0 MiB"},
		{Style{ASCII: true}.Bar(4, 0.5), "##.."},
		{Style{}.Bar(4, 2), "████"},
		{Style{ASCII: true}.Mark(Warn, "held"), "! held"},
		{Style{}.Mark(Plain, "as it is"), "as it is"},
	}
	for _, tc := range cases {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb\nc\td", "\u202eback", "\x9b31m", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Clean(s) {
			if odd(r) {
				t.Errorf("%q leaves %q in %q", s, r, Clean(s))
			}
		}
	})
}
