package kube

import (
	"strings"
	"testing"
)

func TestTallyOfCovetdsMetrics(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		want  tally
		known bool
	}{
		"own":            {"# HELP x\ncovetpy_requests_total{endpoint=\"/a\\\"}{ status=\\\"500\",method=\"GET\",status=\"200\"} 90\ncovetpy_requests_total{endpoint=\"/\",method=\"GET\",status=\"503\"} 1e1\ncovetpy_requests_total_other{status=\"500\"} 7\ncovetpy_requests_total{endpoint=\"/health/ready\",status=\"503\"} 50\n", tally{100, 10}, true},
		"a release":      {"covetpy_requests_total{status=\"200\"} 5\ncovetpy_release_requests_total{release=\"v1\",status=\"5xx\"} 3 1700000000000\ncovetpy_release_requests_total{release=\"v1\",status=\"2xx\"} 7\ncovetpy_release_failures_total{release=\"v1\"} 2\n", tally{12, 5}, true},
		"no request yet": {"covetpy_active_connections 0\n", tally{}, true},
		"another's":      {"http_requests_total{code=\"500\"} 12\n", tally{}, false},
		"torn":           {"covetpy_requests_total{status=\"500\ncovetpy_requests_total{status=500} 3\ncovetpy_requests_total\ncovetpy_requests_total{status=\"200\"} NaN\n", tally{}, true},
	} {
		got, known, err := readTally(strings.NewReader(c.text))
		if got != c.want || known != c.known || err != nil {
			t.Errorf("%s: %+v, %v, %v", name, got, known, err)
		}
	}
	if got := (tally{5, 1}).since(tally{90, 3}); got != (tally{5, 1}) {
		t.Errorf("a counter that began anew: %+v", got)
	}
}

func FuzzTally(f *testing.F) {
	f.Add("covetpy_requests_total{status=\"200\"} 9")
	f.Fuzz(func(t *testing.T, text string) {
		if got, known, _ := readTally(strings.NewReader(text)); got != (tally{}) && !known {
			t.Errorf("%q: %+v", text, got)
		}
	})
}
