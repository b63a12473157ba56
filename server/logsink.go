package server

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	logBufferBytes   = 64 << 10
	logFlushInterval = time.Second
)

// logSink is where all log lines go, in order. Lines of the access log are buffered, so that a request does not cost a
// system call; everything else is written at once, after what is buffered.
type logSink struct {
	mu    sync.Mutex
	out   io.Writer
	file  *logFile // out, where it is a file of ours
	buf   []byte
	stamp stamp
	lost  atomic.Int64 // bytes that could not be written
}

func newLogSink(out io.Writer) *logSink {
	l := &logSink{out: out, buf: make([]byte, 0, logBufferBytes)}
	l.file, _ = out.(*logFile)
	return l
}

// flushEachInterval runs until stop is closed.
func (l *logSink) flushEachInterval(stop <-chan struct{}) {
	tick := time.NewTicker(logFlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.flush()
		case <-stop:
			return
		}
	}
}

// Write takes a finished line from slog and writes it through. It never fails: what cannot be logged must not stop
// the service, and is counted.
func (l *logSink) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	l.flushLocked()
	return len(p), nil
}

// access appends an access log line, written by encode into the buffer itself.
func (l *logSink) access(a *access, encode func(buf []byte, a *access, s *stamp) []byte) {
	l.mu.Lock()
	l.buf = encode(l.buf, a, &l.stamp)
	if len(l.buf) > logBufferBytes-4096 {
		l.flushLocked()
	}
	l.mu.Unlock()
}

func (l *logSink) flush() {
	l.mu.Lock()
	l.flushLocked()
	l.mu.Unlock()
}

func (l *logSink) flushLocked() {
	if len(l.buf) == 0 {
		return
	}
	if n, err := l.out.Write(l.buf); err != nil {
		l.lost.Add(int64(len(l.buf) - n))
	}
	l.buf = l.buf[:0]
}

// reopen opens a log file by its name again.
func (l *logSink) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
	if l.file == nil {
		return nil
	}
	return l.file.reopen()
}

// close flushes. Lines logged later are still written, unless they went to a file.
func (l *logSink) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
