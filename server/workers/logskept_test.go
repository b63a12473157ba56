package workers

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
)

// What the workers said last is there to be read when nothing runs any more.
func TestLogsOutliveTheSupervisor(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	read := func(f LogFilter) (got []string, err error) {
		for l, e := range KeptLogs(t.Context(), state, f) {
			if e != nil {
				return got, e
			}
			got = append(got, l.Instance+" "+l.Text)
		}
		return got, nil
	}
	if got, err := read(LogFilter{}); err != nil || got != nil {
		t.Errorf("before anything ran: %q, %v", got, err)
	}
	b := newBench(t, func(o *Options) { o.StateDir = state })
	b.ensure(b.spec("v0"), 1)
	b.untilState(1, StateReady)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := openLibrary(filepath.Join(state, logFolder), fileLimits{file: 1 << 20, total: 1 << 20, rate: 1 << 20}, slog.New(slog.DiscardHandler))
	l.open("v1")
	l.open("v2")
	l.add("v1", "v1-1", "stdout", "one")
	l.add("v2", "v2-1", "stderr", "two")
	l.add("v1", "v1-2", "stdout", "three")
	l.close()
	for _, tt := range []struct {
		f    LogFilter
		want []string
	}{
		{LogFilter{Tail: 3}, []string{"v1-1 one", "v2-1 two", "v1-2 three"}},
		{LogFilter{Tail: 1}, []string{"v1-2 three"}},
		{LogFilter{Release: "v1"}, []string{"v1-1 one", "v1-2 three"}},
		{LogFilter{Instance: "v2-1"}, []string{"v2-1 two"}},
		{LogFilter{Release: "v2", Instance: "v1-1"}, nil},
	} {
		if got, err := read(tt.f); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %q, %v; want %q", tt.f, got, err, tt.want)
		}
	}
	if got, err := read(LogFilter{Release: "v0"}); err != nil || !slices.Contains(got, "v0-1 ready") {
		t.Errorf("of a supervisor that ended: %q, %v", got, err)
	}
	for _, release := range []string{"v9", "../v1"} {
		if got, err := read(LogFilter{Release: release, Instance: "x"}); release == "v9" && !errors.Is(err, ErrNoLog) || got != nil {
			t.Errorf("%s: %q, %v", release, got, err)
		}
	}
}
