package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// ErrNoLog is in the error about a release that has never run here, or so long ago that its log is gone.
var ErrNoLog = errors.New("no log is kept of this release")

// LogFilter says which lines are wanted; zero values mean all.
type LogFilter struct {
	Release  string
	Instance string
	After    int64 // only lines with a higher Seq: where an earlier reader stopped
	Tail     int   // only so many of the last lines that are already there
}

func (f LogFilter) match(l LogLine) bool {
	return (f.Release == "" || f.Release == l.Release) && (f.Instance == "" || f.Instance == l.Instance)
}

const (
	streamCovetd = "covetd"

	ringBytes    = 1 << 20  // of a release's last lines, kept in memory
	pendingBytes = 2 << 20  // of a release's lines that wait for the disk; more are only kept in memory
	floodBytes   = 10 << 20 // of a release's output that is encoded for the disk in a second; so a flood leaves the machine to others
	keptBooks    = 8        // releases that have ended and whose last lines are still in memory
)

// book is the log of one release.
type book struct {
	release string
	ring    ring
	file    *logFile

	pending      []byte // encoded lines for the file
	spare        []byte // the buffer of the last ones, to be used again
	pendingLines int
	second       int64 // of the clock, to which spent belongs
	spent        int   // bytes encoded in it
	missing      int   // lines that were left out of the file since the last one that was not
	ended        bool
}

// library keeps the logs of all releases. Taking a line never waits for the disk.
type library struct {
	dir   string
	limit fileLimits
	log   *slog.Logger

	mu      sync.Mutex
	last    int64 // the highest Seq
	books   map[string]*book
	ended   []string      // those kept after their release, oldest first
	more    chan struct{} // closed by the next line, if somebody waits for it
	awaited bool
	loss    LogLoss

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

func openLibrary(dir string, limit fileLimits, log *slog.Logger) *library {
	l := &library{
		dir: dir, limit: limit, log: log, books: map[string]*book{}, more: make(chan struct{}),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go l.write()
	return l
}

// open starts or resumes a release's log; the last lines of an earlier run are there again. It must not run twice at once.
func (l *library) open(release string) {
	b := &book{release: release, file: newLogFile(l.dir, release, l.limit)}
	var earlier []LogLine
	if !l.has(release) {
		var err error
		earlier, err = b.file.tail(ringBytes) // without the lock: no disk holds up the lines of the others
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Error("a release's log starts without its earlier lines", "release", release, "error", err)
		}
		if err := prune(l.dir, l.limit.total); err != nil {
			l.log.Error("logs may take more disk than they should", "error", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.books[release]; b != nil {
		b.ended = false
		l.ended = slices.DeleteFunc(l.ended, func(r string) bool { return r == release })
		return
	}
	for _, line := range earlier {
		b.ring.add(line, ringBytes)
		l.last = max(l.last, line.Seq)
	}
	l.books[release] = b
}

// end says that nothing runs of a release any more. Its last lines stay in memory for a while.
func (l *library) end(release string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.books[release]
	if b == nil || b.ended {
		return
	}
	b.ended = true
	l.ended = append(l.ended, release)
	nudge(l.wake) // the writer closes its file
}

// add takes a line. It never blocks for longer than copying it takes.
func (l *library) add(release, instance, stream, text string) {
	now := time.Now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.books[release]
	if b == nil {
		return
	}
	room := b.room(now, len(text), l.limit.rate)
	if room && b.missing > 0 {
		b.encode(l.line(now, release, "", streamCovetd, fmt.Sprintf("%d lines before this one were too many for the disk", b.missing)))
		b.missing = 0
	}
	line := l.line(now, release, instance, stream, text)
	b.ring.add(line, ringBytes)
	if l.awaited {
		close(l.more)
		l.more, l.awaited = make(chan struct{}), false
	}
	if !room {
		b.missing++
		l.loss.flooded(now, release)
		return
	}
	b.encode(line)
	nudge(l.wake)
}

func (l *library) line(now time.Time, release, instance, stream, text string) LogLine {
	l.last = max(l.last+1, now.UnixMicro())
	return LogLine{Seq: l.last, Time: now, Release: release, Instance: instance, Stream: stream, Text: text}
}

// room says whether one more line may go to the file.
func (b *book) room(now time.Time, size, rate int) bool {
	if now.Unix() != b.second {
		b.second, b.spent = now.Unix(), 0
	}
	b.spent += size + lineOverhead
	return b.spent <= rate && len(b.pending)+size < pendingBytes
}

func (b *book) encode(line LogLine) {
	b.pending = append(line.appendJSON(b.pending), '\n')
	b.pendingLines++
}

// write brings the lines to the disk, alone.
func (l *library) write() {
	defer close(l.done)
	for {
		select {
		case <-l.wake:
			l.flush()
		case <-l.quit:
			l.flush()
			l.closeFiles()
			return
		}
	}
}

func (l *library) close() {
	close(l.quit)
	<-l.done
}

func (l *library) closeFiles() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.books {
		if err := b.file.close(); err != nil {
			l.log.Error("closing a release's log", "release", b.release, "error", err)
		}
	}
}

// flush writes what is pending of every book, until nothing is.
func (l *library) flush() {
	for {
		batches := l.collect()
		if len(batches) == 0 {
			l.forget()
			return
		}
		for _, b := range batches {
			l.written(b, b.book.file.write(b.bytes))
		}
	}
}

// written counts the lines of a batch that could not be written.
func (l *library) written(b batch, err error) {
	l.mu.Lock()
	if !b.book.ended {
		b.book.spare = b.bytes[:0]
	}
	if err != nil {
		l.loss.Unwritten += uint64(b.lines)
		l.loss.UnwrittenAt = time.Now()
	}
	l.mu.Unlock()
	if err != nil && b.book.file.complain() {
		l.log.Error("a release's log cannot be written; its lines are kept in memory only and counted",
			"release", b.book.release, "error", err)
	}
}

type batch struct {
	book  *book
	bytes []byte
	lines int
}

func (l *library) collect() []batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []batch
	for _, b := range l.books {
		if b.pendingLines > 0 {
			out = append(out, batch{book: b, bytes: b.pending, lines: b.pendingLines})
			b.pending, b.spare, b.pendingLines = b.spare, nil, 0
		}
	}
	return out
}

// forget lets go of the files of ended releases, and of the memory of the oldest. Only the writer calls it: it alone uses files.
func (l *library) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, release := range l.ended {
		if b := l.books[release]; b.pendingLines == 0 {
			if err := b.file.close(); err != nil {
				l.log.Error("closing a release's log", "release", release, "error", err)
			}
		}
	}
	for len(l.ended) > keptBooks && l.books[l.ended[0]].pendingLines == 0 {
		delete(l.books, l.ended[0])
		l.ended = l.ended[1:]
	}
}

func (l *library) lost() LogLoss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loss
}

// read yields the lines that are there and, if follow is set, those that come, until ctx ends.
func (l *library) read(ctx context.Context, f LogFilter, follow bool) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		cursor := f.After
		lines, more, err := l.first(f)
		if err != nil {
			yield(LogLine{}, err)
			return
		}
		for {
			for _, line := range lines {
				cursor = max(cursor, line.Seq)
				if !yield(line, nil) {
					return
				}
			}
			if !follow {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
			lines, more = l.after(f, cursor)
		}
	}
}

// first is what is there when a reader comes: in memory, or for a release that is not, the end of its file.
func (l *library) first(f LogFilter) ([]LogLine, <-chan struct{}, error) {
	lines, more := l.after(f, f.After)
	if f.Release != "" && !l.has(f.Release) {
		var err error
		lines, err = newLogFile(l.dir, filepath.Base(f.Release), l.limit).tail(ringBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("release %q: %w", f.Release, ErrNoLog)
		}
		if err != nil {
			return nil, nil, err
		}
		lines = slices.DeleteFunc(lines, func(line LogLine) bool { return line.Seq <= f.After || !f.match(line) })
	}
	if f.Tail > 0 && len(lines) > f.Tail {
		lines = lines[len(lines)-f.Tail:]
	}
	return lines, more, nil
}

func (l *library) has(release string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books[release] != nil
}

// after returns the lines in memory that come after seq, and what is closed when there are more. A reader that was too slow is
// told so in a line of its own.
func (l *library) after(f LogFilter, seq int64) ([]LogLine, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaited = true
	var out []LogLine
	for _, b := range l.books {
		if f.Release != "" && f.Release != b.release {
			continue
		}
		if seq > 0 && b.ring.evicted > seq {
			out = append(out, LogLine{
				Seq: seq, Time: time.Now().UTC(), Release: b.release, Stream: streamCovetd,
				Text: "some lines were skipped here: they came faster than they were read",
			})
		}
		for _, line := range b.ring.after(seq) {
			if f.match(line) {
				out = append(out, line)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b LogLine) int { return cmp.Compare(a.Seq, b.Seq) })
	return out, l.more
}
