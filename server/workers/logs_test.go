package workers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func (b *bench) lines(f LogFilter) []LogLine {
	b.Helper()
	var out []LogLine
	for line, err := range b.Logs(b.Context(), f, false) {
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, line)
	}
	return out
}

func texts(lines []LogLine) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return out
}

func TestOutputIsKept(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	b := newBench(t, func(o *Options) { o.StateDir = state })
	b.ensure(b.spec("v1", "exit=3"), 1)
	b.ensure(b.spec("v2"), 2)
	b.until("failures", func(all []Instance) bool { return byRelease(all, "v1").StartFailures >= 2 })
	got := b.lines(LogFilter{Release: "v1"})
	if !slices.IsSortedFunc(got, func(a, b LogLine) int { return int(a.Seq - b.Seq) }) {
		t.Error("the lines are not in order")
	}
	if l := got[1]; l.Text != "cannot read the configuration" || l.Stream != "stdout" || l.Instance != "v1-1" || l.Release != "v1" {
		t.Errorf("line %+v", l)
	}
	if l := got[2]; l.Stream != "covetd" || !strings.Contains(l.Text, "exited with status 3") {
		t.Errorf("line %+v", l)
	}
	if tail := b.lines(LogFilter{Release: "v1", Tail: 2}); len(tail) != 2 {
		t.Errorf("tail %v, want 2 lines", texts(tail))
	}
	rest := b.lines(LogFilter{Release: "v1", After: got[1].Seq})
	if rest[0] != got[2] {
		t.Errorf("resumed at %+v, want %+v", rest[0], got[2])
	}
	b.untilReady("v2")
	for _, l := range b.lines(LogFilter{Instance: "v2-2"}) {
		if l.Instance != "v2-2" {
			t.Errorf("line of %s", l.Instance)
		}
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := newBench(t, func(o *Options) { o.StateDir = state })
	if old := again.lines(LogFilter{Release: "v1"}); len(old) < len(got) || old[1] != got[1] {
		t.Errorf("after a restart: %v", texts(old))
	}
	again.ensure(again.spec("v1", "exit=3"), 1)
	all := again.lines(LogFilter{Release: "v1"})
	if all[1] != got[1] || all[len(all)-1].Seq < got[len(got)-1].Seq {
		t.Errorf("resumed log: %v", texts(all))
	}
}

func (b *bench) untilReady(release string) {
	b.Helper()
	b.until(release+" ready", func(all []Instance) bool {
		return !slices.ContainsFunc(all, func(i Instance) bool { return i.Release == release && i.State != StateReady })
	})
}

func TestFollow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ensure(b.spec("v1"), 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for line, err := range b.Logs(ctx, LogFilter{Release: "v1"}, true) {
			if err != nil {
				t.Error(err)
			}
			got <- line.Text
		}
	}()
	for {
		select {
		case text := <-got:
			if text == "ready" {
				cancel()
				select {
				case <-ended:
				case <-time.After(patience):
					t.Fatal("following goes on after its context")
				}
				return
			}
		case <-time.After(patience):
			t.Fatal("no line")
		}
	}
}

func TestFloodCostsBoundedMemoryAndIsCounted(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	b := newBench(t, func(o *Options) { o.StateDir, o.LogFileBytes, o.LogTotalBytes = state, 1<<20, 4<<20 })
	const lines = 60_000
	b.ensure(b.spec("v1", "flood="+strconv.Itoa(lines)), 1)
	b.untilState(1, StateReady)
	b.until("the last lines", func(all []Instance) bool { return slices.Contains(all[0].LastLog, "flood over") })
	b.logs.mu.Lock()
	held := b.logs.books["v1"].ring.bytes
	b.logs.mu.Unlock()
	if held > ringBytes {
		t.Errorf("%d bytes in memory, want at most %d", held, ringBytes)
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(state, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 4<<20+pendingBytes || len(entries) < 2 {
		t.Errorf("%d bytes in %d files, want rotation and at most the limit and one batch", total, len(entries))
	}
	t.Logf("%d of %d lines were dropped, %d bytes in %d files", b.LogLoss().Lines(), lines, total, len(entries))
}

// /dev/full answers every write as a full disk does.
func TestFullDiskHoldsUpNobody(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	if err := os.Mkdir(filepath.Join(state, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(state, "logs", "v1.log")); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(o *Options) { o.StateDir = state })
	b.ensure(b.spec("v1", "flood=5000"), 1)
	b.untilState(1, StateReady)
	eventually(t, "lost lines are counted", func() (bool, any) { n := b.LogLoss().Unwritten; return n >= 5000, n })
	eventually(t, "the lines in memory", func() (bool, any) {
		got := texts(b.lines(LogFilter{Release: "v1"}))
		return slices.Contains(got, "flood over"), len(got)
	})
}

func TestLogFileRotatesWithinItsTotal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newLogFile(dir, "v1", fileLimits{file: 1000, total: 3000})
	line, err := json.Marshal(LogLine{Seq: 1, Text: strings.Repeat("x", 300)})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := f.write(append(slices.Clone(line), '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if got := tail(t, f, 5000); len(got) == 0 || len(got) > 2 {
		t.Errorf("%d lines in the present file", len(got))
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Errorf("files %v, want 3", entries)
	}
}

// During a hand-over two covetds write one log, and either rotates it.
func TestLogFileFollowsARotationByAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limits := fileLimits{file: 100, total: 1 << 20}
	a, b := newLogFile(dir, "v1", limits), newLogFile(dir, "v1", limits)
	line := []byte(`{"seq":1,"text":"` + strings.Repeat("x", 60) + `"}` + "\n")
	for _, f := range []*logFile{a, b, a, b, b, a} {
		if err := f.write(line); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() != int64(len(line)) {
			t.Errorf("%s: %v bytes, %v; want one line in each", e.Name(), info.Size(), err)
		}
	}
	if len(entries) != 6 {
		t.Errorf("%d files, want 6", len(entries))
	}
}

func TestTailSkipsWhatIsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `{"seq":1,"text":"first, cut by the limit"}` + "\n" + `{"seq":2,"text":"a"}` + "\n" + "garbage\n" + `{"seq":3,"te`
	if err := os.WriteFile(filepath.Join(dir, "v1.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := tail(t, newLogFile(dir, "v1", fileLimits{}), int64(len(text)-5))
	if len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("got %+v", got)
	}
}

func tail(t *testing.T, f *logFile, limit int64) []LogLine {
	t.Helper()
	lines, err := f.tail(limit)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestLogOfAnUnknownRelease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, err := range b.Logs(t.Context(), LogFilter{Release: "../v9"}, true) {
		if !errors.Is(err, ErrNoLog) {
			t.Errorf("got %v, want ErrNoLog", err)
		}
		return
	}
	t.Error("no error")
}

func TestSlowFollowerIsTold(t *testing.T) {
	t.Parallel()
	l := openLibrary(t.TempDir(), fileLimits{file: 1 << 30, total: 1 << 30, rate: floodBytes}, slog.New(slog.DiscardHandler))
	defer l.close()
	l.open("v1")
	l.add("v1", "v1-1", "stdout", "first")
	var got []string
	for line, err := range l.read(t.Context(), LogFilter{}, true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line.Text)
		if len(got) == 1 {
			for range 2 * ringBytes / 1000 {
				l.add("v1", "v1-1", "stdout", strings.Repeat("x", 1000))
			}
		}
		if len(got) == 3 {
			break
		}
	}
	if got[0] != "first" || !strings.Contains(got[1], "skipped") || !strings.HasPrefix(got[2], "xxx") {
		t.Errorf("got %.80q", got)
	}
}

// A flood is kept from the disk, said so in the file, and over when it is over.
func TestFloodIsKeptFromTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openLibrary(dir, fileLimits{file: 1 << 30, total: 1 << 30, rate: 20_000}, slog.New(slog.DiscardHandler))
	l.open("v1")
	for range 2000 {
		l.add("v1", "v1-1", "stdout", strings.Repeat("x", 1000))
	}
	if got := l.lost(); got.Flooded == 0 || got.Unwritten != 0 || got.FloodedBy != "v1" {
		t.Errorf("2 MB at once: %+v, want a flood by v1 and no fault of the disk", got)
	}
	eventually(t, "a line on the disk again", func() (bool, any) {
		before := l.lost()
		l.add("v1", "v1-1", "stdout", "calm")
		return l.lost() == before, nil
	})
	l.close()
	got := texts(tail(t, newLogFile(dir, "v1", fileLimits{}), 10_000))
	if n := len(got); got[n-1] != "calm" || !strings.Contains(strings.Join(got, "\n"), "too many for the disk") {
		t.Errorf("the file ends with %.100q", got)
	}
}

func TestEndedReleasesAreForgottenInMemoryOnly(t *testing.T) {
	t.Parallel()
	l := openLibrary(t.TempDir(), fileLimits{file: 1 << 20, total: 1 << 30, rate: floodBytes}, slog.New(slog.DiscardHandler))
	defer l.close()
	for i := range keptBooks + 3 {
		release := "v" + strconv.Itoa(i)
		l.open(release)
		l.add(release, release+"-1", "stdout", "hello")
		l.end(release)
	}
	eventually(t, "the oldest forgotten", func() (bool, any) { return !l.has("v0") && !l.has("v2") && l.has("v3"), nil })
	for line, err := range l.read(t.Context(), LogFilter{Release: "v0"}, false) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Text == "hello" {
			return
		}
	}
	t.Error("its file is not read")
}

func TestSplitLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", maxLine)
	cases := map[string]struct {
		in   string
		want []string
	}{
		"lines":    {"a\nb\r\n\nc", []string{"a", "b", "", "c"}},
		"nothing":  {"", nil},
		"exact":    {long + "\n", []string{long}},
		"too long": {long + "z\n", []string{long, "z"}},
		"endless":  {long + long + long + "z", []string{long, long, long, "z"}},
	}
	for name, c := range cases {
		var got []string
		splitLines(strings.NewReader(c.in), func(s string) { got = append(got, s) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %d lines %.40q", name, len(got), got)
		}
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add(int64(1), "plain", "v1-1")
	f.Add(int64(-5), "a\"b\\c\n\x00\x1f\x7f<>&\u2028 ü \xff\xc3", "")
	f.Fuzz(func(t *testing.T, seq int64, text, instance string) {
		line := LogLine{Seq: seq, Time: time.Unix(0, seq&(1<<60-1)).UTC(), Release: "v1", Instance: instance, Stream: "stdout", Text: text}
		var got LogLine
		if err := json.Unmarshal(line.appendJSON(nil), &got); err != nil {
			t.Fatalf("%s: %v", line.appendJSON(nil), err)
		}
		line.Text, line.Instance = strings.ToValidUTF8(text, "\ufffd"), strings.ToValidUTF8(instance, "\ufffd")
		if got != line {
			t.Errorf("%+v became %+v", line, got)
		}
	})
}
