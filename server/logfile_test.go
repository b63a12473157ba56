package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLogFileRotates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	l, err := openLogFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l.max, l.keep = 100, 3
	for i := range 50 {
		if _, err := fmt.Fprintf(l, "line %04d of twenty b\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for n := 3; n >= 0; n-- {
		text, err := os.ReadFile(l.numbered(n))
		if err != nil || len(text) > 100 {
			t.Errorf("%s: %d bytes, %v", l.numbered(n), len(text), err)
		}
		all.Write(text)
	}
	lines := strings.Split(strings.TrimSpace(all.String()), "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("line %04d of twenty b", 50-len(lines)+i); line != want {
			t.Errorf("%q where %q belongs", line, want)
		}
	}
	if _, err := os.Stat(l.numbered(4)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a fourth old file: %v", err)
	}
}

// During a hand-over two processes write to one log; only the first to find it full may move it.
func TestLogFileRotatedByAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	var both [2]*logFile
	for i := range both {
		l, err := openLogFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l.max = 50
		both[i] = l
	}
	for i := range 4 {
		if _, err := fmt.Fprintf(both[i%2], "%d %s\n", i, strings.Repeat("x", 30)); err != nil {
			t.Fatal(err)
		}
	}
	seen := ""
	for n := range 4 {
		if text, err := os.ReadFile(both[0].numbered(n)); err == nil {
			seen += string(text)
		}
	}
	for i := range 4 {
		if !strings.Contains(seen, fmt.Sprintf("%d x", i)) {
			t.Errorf("line %d is lost", i)
		}
	}
	for _, l := range both {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// fullDisk fails every write.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestLogSinkSurvivesFullDisk(t *testing.T) {
	t.Parallel()
	l := newLogSink(fullDisk{})
	if n, err := l.Write([]byte("12345\n")); n != 6 || err != nil {
		t.Errorf("%d, %v: logging must not fail its caller", n, err)
	}
	if lost := l.lost.Load(); lost != 6 {
		t.Errorf("%d bytes counted as lost, want 6", lost)
	}
}

func TestStampAcrossSeconds(t *testing.T) {
	t.Parallel()
	var s stamp
	at := time.Date(2026, 3, 1, 23, 59, 59, 7e6, time.FixedZone("x", 3600))
	for _, d := range []time.Duration{0, 900 * time.Millisecond, time.Second, 2 * time.Hour} {
		want := at.Add(d).UTC().Format(stampFormat)
		if got := string(s.append(nil, at.Add(d))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Whatever a client sends as a path, the line is JSON and says the same.
func FuzzAccessJSON(f *testing.F) {
	for _, seed := range []string{"/", "/a\"b\\", "/\x00\x1f\x7f", "/\xff\xfe", "/é€𝄞", "/\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		var s stamp
		line := appendAccessJSON(nil, &access{at: time.Unix(1, 0), id: "id", method: "GET", path: path, clientIP: "::1", status: 200}, &s)
		var got struct{ Path string }
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if want := strings.ToValidUTF8(path, "\ufffd"); strings.ReplaceAll(got.Path, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("%q, want %q", got.Path, want)
		}
	})
}
