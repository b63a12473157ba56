package config

import (
	"strings"
	"testing"
)

func TestParseDotEnv(t *testing.T) {
	t.Parallel()
	values, faults := parseDotEnv("\ufeff# comment\n\nA=1\r\nexport B = two words # tail\nC='lit\\n $X # no'\nD=\"a\\nb \\\"q\\\" \\$\"\n" +
		"E=\"first\nsecond\"\nF=\nG=x#y\nH=last")
	if len(faults) > 0 {
		t.Fatalf("faults %v", faults)
	}
	want := map[string]entry{
		"A": {"1", 3}, "B": {"two words", 4}, "C": {`lit\n $X # no`, 5}, "D": {"a\nb \"q\" $", 6},
		"E": {"first\nsecond", 7}, "F": {"", 9}, "G": {"x#y", 10}, "H": {"last", 11},
	}
	for name, w := range want {
		if values[name] != w {
			t.Errorf("%s is %q on line %d, want %q on line %d", name, values[name].value, values[name].line, w.value, w.line)
		}
	}
	if len(values) != len(want) {
		t.Errorf("%d values", len(values))
	}
	for text, says := range map[string]string{
		"nonsense": "line 1: is not", "A='x": "never closed", "A='x' y": "after the closing", "1A=x": "is not NAME=value", "\n\nA B=x": "line 3",
	} {
		_, faults := parseDotEnv(text)
		if len(faults) != 1 || !strings.Contains(faults[0].String(), says) {
			t.Errorf("%q: %v", text, faults)
		}
	}
}

// Nothing panics, names are names, and a value written in single quotes comes back as it was.
func FuzzParseDotEnv(f *testing.F) {
	for _, seed := range []string{"A=1", "A='x\ny' # z", "export A=\"\\\"\"", "=", "A=\"", "\ufeff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, _ := parseDotEnv(text)
		for name, v := range values {
			if !validEnvName(name) || v.line < 1 {
				t.Errorf("%q on line %d", name, v.line)
			}
		}
		if strings.ContainsRune(text, '\'') {
			return
		}
		back, faults := parseDotEnv("A='" + text + "'\nB=end")
		if len(faults) > 0 || back["A"].value != text || back["B"].value != "end" {
			t.Errorf("%q in quotes comes back as %q, %v", text, back["A"].value, faults)
		}
		if want := 2 + strings.Count(text, "\n"); back["B"].line != want {
			t.Errorf("after %q comes line %d, want %d", text, back["B"].line, want)
		}
	})
}
