package server

import (
	"strings"
	"testing"
)

const someTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceOf(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		someTrace: "0af7651916cd43dd8448eb211c80319c",
		"cc" + someTrace[2:] + "-what-will-be-there":              "0af7651916cd43dd8448eb211c80319c",
		"00" + someTrace[2:] + "-more":                            "",
		"ff" + someTrace[2:]:                                      "",
		strings.ToUpper(someTrace):                                "",
		someTrace[:54]:                                            "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": "",
		"":                              "",
		strings.Repeat("-", 55):         "",
		someTrace + "\n":                "",
		"00-" + strings.Repeat("g", 52): "",
	} {
		if got := traceOf([]string{header}); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
	if traceOf([]string{someTrace, someTrace}) != "" || traceOf(nil) != "" {
		t.Error("two headers, or none, are a trace")
	}
	if got := traceIDOf(nil, newRequestID()); len(got) != 32 {
		t.Errorf("a request's own id makes no trace: %q", got)
	}
	if got := traceIDOf(nil, "client-chosen-1"); got != "" {
		t.Errorf("a client's id makes a trace: %q", got)
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add(someTrace)
	f.Add("00-")
	f.Fuzz(func(t *testing.T, header string) {
		if got := traceOf([]string{header}); got != "" && (len(got) != 32 || !lowerHex(got) || !strings.Contains(header, got)) {
			t.Fatalf("%q: %q", header, got)
		}
	})
}
