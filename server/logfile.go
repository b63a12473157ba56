package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Log files are rotated at this size, and this many old ones are kept.
const (
	logFileBytes = 100 << 20
	logFilesKept = 10
)

// logFile is a file that is rotated when it has grown: name, name.1 … name.10, the highest the oldest. Its user
// serialises the calls.
type logFile struct {
	path string
	max  int64
	keep int
	file *os.File
	size int64
}

func openLogFile(path string) (*logFile, error) {
	l := &logFile{path: path, max: logFileBytes, keep: logFilesKept}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("log file %s: %w", path, err)
	}
	if err := l.reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// reopen opens the file by its name again, as after an external rotation. If that fails the old file stays in use.
func (l *logFile) reopen() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log file: %w", err), f.Close())
	}
	old := l.file
	l.file, l.size = f, info.Size()
	if old != nil {
		if err := old.Close(); err != nil {
			return fmt.Errorf("close the former log file: %w", err)
		}
	}
	return nil
}

// Write appends whole lines, rotating first where they would not fit.
func (l *logFile) Write(p []byte) (int, error) {
	var rotateErr error
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		rotateErr = l.rotate()
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, errors.Join(err, rotateErr)
}

// rotate moves every file one number up. During a hand-over two processes write to one log: if the other one has
// rotated already, the new file is opened and nothing is moved.
func (l *logFile) rotate() error {
	ours, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	if now, err := os.Stat(l.path); err == nil && os.SameFile(ours, now) {
		for n := l.keep - 1; n >= 0; n-- {
			err := os.Rename(l.numbered(n), l.numbered(n+1))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("rotate log: %w", err)
			}
		}
	}
	return l.reopen()
}

func (l *logFile) numbered(n int) string {
	if n == 0 {
		return l.path
	}
	return l.path + "." + strconv.Itoa(n)
}

func (l *logFile) Close() error { return l.file.Close() }
