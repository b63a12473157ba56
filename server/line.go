package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// Words that the two processes of a hand-over say to each other, one to a line. The new one says release, ready or
// failed; the old one answers released and go.
const (
	wordRelease  = "release"  // my configuration is valid: give up what only one may hold
	wordReleased = "released" // done: start your components
	wordReady    = "ready"    // they work
	wordGo       = "go"       // accept connections; I have stopped to
	wordFailed   = "failed"   // followed by the reason
)

// line is one end of the connection between the two processes of a hand-over.
type line struct {
	conn net.Conn
	in   *bufio.Reader
}

// openLine takes over a descriptor.
func openLine(fd int) (*line, error) {
	f := os.NewFile(uintptr(fd), "handover")
	c, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("hand-over line: %w", err)
	}
	return &line{conn: c, in: bufio.NewReader(c)}, nil
}

func (l *line) say(words ...string) error {
	text := strings.ReplaceAll(strings.Join(words, " "), "\n", "; ")
	if _, err := io.WriteString(l.conn, text+"\n"); err != nil {
		return fmt.Errorf("hand-over line: %w", err)
	}
	return nil
}

// expect waits for a word. io.EOF means that the other process is gone.
func (l *line) expect(ctx context.Context, word string) error {
	stop := context.AfterFunc(ctx, func() {
		// Only a closed connection refuses a deadline, and then the read ends anyway.
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	text, err := l.in.ReadString('\n')
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return io.EOF // end of file or a reset: the process is gone
	}
	text = strings.TrimSuffix(text, "\n")
	if reason, ok := strings.CutPrefix(text, wordFailed+" "); ok {
		return errors.New(reason)
	}
	if text != word {
		return fmt.Errorf("hand-over line: %q where %q belongs", text, word)
	}
	return nil
}

func (l *line) close() error { return l.conn.Close() }
