package workers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fileLimits bound what logs take on the disk.
type fileLimits struct {
	file  int64 // bytes after which a log is rotated
	total int64 // bytes of all logs of all releases; the oldest go first
	rate  int   // bytes of one release's output in a second
}

const (
	logFolder       = "logs" // in the state folder
	logSuffix       = ".log"
	complaintPeriod = time.Minute
)

// logFile is a release's log on the disk: JSON lines in RELEASE.log, older ones in RELEASE.log.TIME.
type logFile struct {
	dir, path string
	limit     fileLimits
	f         *os.File // nil until it is needed
	size      int64
	complaint time.Time
}

func newLogFile(dir, release string, limit fileLimits) *logFile {
	return &logFile{dir: dir, path: filepath.Join(dir, release+logSuffix), limit: limit}
}

// write appends whole lines, or none of them.
func (l *logFile) write(lines []byte) error {
	if err := l.ready(int64(len(lines))); err != nil {
		return err
	}
	n, err := l.f.Write(lines)
	if err == nil {
		l.size += int64(n)
		return nil
	}
	err = fmt.Errorf("writing %s: %w", l.path, err)
	if n > 0 { // half a line would spoil the next one; making a file shorter works on a full disk too
		err = errors.Join(err, l.f.Truncate(l.size))
	}
	return errors.Join(err, l.close())
}

// ready opens the file, again if somebody else has rotated it, and rotates it if it is full.
func (l *logFile) ready(more int64) error {
	if l.f != nil && l.moved() {
		if err := l.close(); err != nil {
			return err
		}
	}
	if err := l.open(); err != nil {
		return err
	}
	if l.size == 0 || l.size+more <= l.limit.file {
		return nil
	}
	if err := l.rotate(); err != nil {
		return err
	}
	return l.open()
}

// moved: during a hand-over, two covetds write the same file and either may rotate it.
func (l *logFile) moved() bool {
	now, err := os.Stat(l.path)
	if err != nil {
		return true
	}
	ours, err := l.f.Stat()
	if err != nil || !os.SameFile(now, ours) {
		return true
	}
	l.size = now.Size()
	return false
}

func (l *logFile) open() error {
	if l.f != nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening a log: %w", err), f.Close())
	}
	l.f, l.size = f, st.Size()
	return nil
}

func (l *logFile) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f, l.size = nil, 0
	if err != nil {
		return fmt.Errorf("closing %s: %w", l.path, err)
	}
	return nil
}

func (l *logFile) rotate() error {
	if err := l.close(); err != nil {
		return err
	}
	old := l.path + "." + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(l.path, old); err != nil {
		return fmt.Errorf("rotating a log: %w", err)
	}
	return prune(l.dir, l.limit.total-l.limit.file) // leaves room for the new one
}

// complain says whether it is time to report that writing fails: not for every line.
func (l *logFile) complain() bool {
	if time.Since(l.complaint) < complaintPeriod {
		return false
	}
	l.complaint = time.Now()
	return true
}

// prune removes the logs that were written to longest ago until all together are within the limit. A silent release whose
// log goes begins a new one.
func prune(dir string, limit int64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for old logs: %w", err)
	}
	var total int64
	var logs []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.Contains(e.Name(), logSuffix) {
			continue // gone, or none of ours
		}
		total += info.Size()
		logs = append(logs, info)
	}
	slices.SortFunc(logs, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for _, info := range logs {
		if total <= limit {
			break
		}
		if err := os.Remove(filepath.Join(dir, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an old log: %w", err)
		}
		total -= info.Size()
	}
	return nil
}

// tail reads the last lines, as many as fit into limit bytes, without the damaged ones.
func (l *logFile) tail(limit int64) ([]LogLine, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("reading a log: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a log: %w", err)
	}
	from := max(0, st.Size()-limit)
	b, err := io.ReadAll(io.NewSectionReader(f, from, limit))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", l.path, err)
	}
	if from > 0 {
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	var out []LogLine
	for line := range bytes.Lines(b) {
		var parsed LogLine
		if json.Unmarshal(line, &parsed) == nil && parsed.Seq > 0 {
			out = append(out, parsed)
		}
	}
	return out, nil
}
