package workers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxLine is where a longer line is split.
const maxLine = 64 << 10

// output is a worker's two pipes.
type output struct {
	out, err           *os.File // our ends
	theirOut, theirErr *os.File
	pumps              sync.WaitGroup
}

func newOutput() (*output, error) {
	or, ow, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("worker's output: %w", err)
	}
	er, ew, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("worker's output: %w", err), or.Close(), ow.Close())
	}
	return &output{out: or, err: er, theirOut: ow, theirErr: ew}, nil
}

func (o *output) closeTheirs() error { return errors.Join(o.theirOut.Close(), o.theirErr.Close()) }
func (o *output) close() error       { return errors.Join(o.out.Close(), o.err.Close()) }

// pump sends every line to take until both pipes end. take must not block: the worker would.
func (o *output) pump(take func(stream, text string)) {
	for stream, r := range map[string]*os.File{"stdout": o.out, "stderr": o.err} {
		o.pumps.Go(func() { splitLines(r, func(text string) { take(stream, text) }) })
	}
}

// drain waits until everything that was written has been taken, and closes the pipes. Whoever still holds their other ends
// after the limit has escaped every hunt, or hangs in the kernel; its output is cut.
func (o *output) drain(limit time.Duration) error {
	done := make(chan struct{})
	go func() { o.pumps.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
	}
	err := o.close()
	<-done
	return err
}

// splitLines reads until the end or an error, which for a pipe of ours is the same.
func splitLines(r io.Reader, take func(string)) {
	buf := make([]byte, 8<<10)
	var rest []byte
	for {
		n, err := r.Read(buf)
		rest = eachLine(append(rest, buf[:n]...), take)
		if err != nil {
			break
		}
	}
	if len(rest) > 0 {
		take(string(rest))
	}
}

// eachLine hands out the full lines of b and the pieces of one that is too long, and returns what is left.
func eachLine(b []byte, take func(string)) []byte {
	for rest := b; ; {
		i := bytes.IndexByte(rest, '\n')
		switch {
		case i >= 0 && i <= maxLine:
			take(string(bytes.TrimSuffix(rest[:i], []byte{'\r'})))
			rest = rest[i+1:]
		case len(rest) > maxLine:
			take(string(rest[:maxLine]))
			rest = rest[maxLine:]
		case len(rest) == 0:
			return nil // a quiet worker holds no buffer
		default:
			return append(b[:0], rest...)
		}
	}
}
