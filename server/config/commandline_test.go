package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"uvicorn src.main:app --port 80": {"uvicorn", "src.main:app", "--port", "80"},
		`a 'b c' "d e" f\ g`:             {"a", "b c", "d e", "f g"},
		`a "" ''`:                        {"a", "", ""},
		`a 'it'\''s'`:                    {"a", "it's"},
		`a "x \" \\ \n $Y"`:              {"a", `x " \ \n $Y`},
		"  a\t\n b ":                     {"a", "b"},
		"a \\\n b":                       {"a", "b"},
		`sh -c 'a && b | c > d'`:         {"sh", "-c", "a && b | c > d"},
	} {
		if got, err := SplitCommand(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for line, says := range map[string]string{
		"": "names no program", "''": "names no program", "a 'b": "single quote", `a "b`: "double quote",
		`a \`: "backslash", "a | b": "sh -c", "a; b": "sh -c", "a > b": "sh -c", "a\x00": "NUL", "a '\x00'": "NUL",
	} {
		if got, err := SplitCommand(line); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v, want an error about %s", line, got, err, says)
		}
	}
}

// What is split and joined again splits into the same words; nothing panics.
func FuzzSplitCommand(f *testing.F) {
	for _, seed := range []string{`a 'b c' "d\"e"`, `x\`, `"`, "a \\\n b", "sh -c 'x && y'", "é 'ü'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := SplitCommand(line)
		if err != nil {
			return
		}
		again, err := SplitCommand(JoinCommand(words))
		if err != nil || !reflect.DeepEqual(words, again) {
			t.Errorf("%q splits into %q, joined and split again %q, %v", line, words, again, err)
		}
	})
}
