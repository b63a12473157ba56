package kube

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// The counters of requests that covetd shows of itself, and of the releases that it runs.
const (
	requestsMetric = "covetpy_requests_total"
	releaseMetric  = "covetpy_release_requests_total"
	failuresMetric = "covetpy_release_failures_total"
)

// tally is what a pod's counters of requests add up to.
type tally struct{ requests, failed uint64 }

// since is what was counted after an earlier tally. A counter that fell began anew.
func (t tally) since(before tally) tally {
	if t.requests < before.requests || t.failed < before.failed {
		return t
	}
	return tally{t.requests - before.requests, t.failed - before.failed}
}

// readTally adds up the counters of requests in Prometheus's text format. It reports whether there are any: where nobody has
// asked for anything yet covetd shows none, so what tells it is any metric of covetd's.
func readTally(r io.Reader) (t tally, known bool, err error) {
	var own, releases tally
	served := false
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "covetpy_") {
			continue
		}
		known = true
		name, labels, value, ok := sampleOf(lines.Text())
		if !ok {
			continue
		}
		switch {
		case name == requestsMetric && !ofCovetd(labels["endpoint"]):
			own.add(labels["status"], value)
		case name == releaseMetric:
			served = true
			releases.add(labels["status"], value)
		case name == failuresMetric:
			releases.requests += value
			releases.failed += value
		}
	}
	if served { // this covetd runs a release: what it answered itself is no more than that
		own = releases
	}
	return own, known, lines.Err()
}

// ofCovetd reports whether an endpoint is one of covetd's own pages: probes and Prometheus are nobody's traffic.
func ofCovetd(endpoint string) bool {
	return endpoint == "/metrics" || endpoint == "/health" || strings.HasPrefix(endpoint, "/health/")
}

// add counts answers of a status such as 503 or 5xx.
func (t *tally) add(status string, n uint64) {
	t.requests += n
	if strings.HasPrefix(status, "5") {
		t.failed += n
	}
}

// sampleOf parts a line such as name{label="value"} 12 into its parts. Lines that are none are left alone.
func sampleOf(line string) (name string, labels map[string]string, value uint64, ok bool) {
	at := strings.IndexAny(line, "{ \t")
	if at < 0 {
		return "", nil, 0, false
	}
	name, rest := line[:at], line[at:]
	labels = map[string]string{}
	if rest[0] == '{' {
		if rest, ok = readLabels(rest[1:], labels); !ok {
			return "", nil, 0, false
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return "", nil, 0, false
	}
	f, err := strconv.ParseFloat(fields[0], 64)
	if err != nil || !(f >= 0) || f > 1<<63 {
		return "", nil, 0, false
	}
	return name, labels, uint64(f), true
}

// readLabels reads label="value" pairs up to the closing brace, and returns what is behind it.
func readLabels(s string, into map[string]string) (rest string, ok bool) {
	for {
		s = strings.TrimLeft(s, ", \t")
		if after, closed := strings.CutPrefix(s, "}"); closed {
			return after, true
		}
		name, value, found := strings.Cut(s, "=")
		value, quoted := strings.CutPrefix(strings.TrimLeft(value, " \t"), `"`)
		if !found || !quoted {
			return "", false
		}
		text, after, whole := unquoted(value)
		if !whole {
			return "", false
		}
		into[strings.TrimSpace(name)], s = text, after
	}
}

// unquoted reads up to the closing quote, taking \\, \" and \n for what they stand for.
func unquoted(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
			if s[i] == 'n' {
				b.WriteByte('\n')
				continue
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
