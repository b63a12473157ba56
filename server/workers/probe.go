package workers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	maxProbeBody   = 512     // bytes of an answer that are read for its first line
	maxProbeAnswer = 8 << 10 // bytes of an answer, header and all
)

// probe returns nil when GET addr/path is answered with a 2xx status, else the reason in a person's words. It takes a new
// connection each time, so that it proves that the instance still accepts them, and holds none open against a server with
// few. It speaks HTTP by itself: a client with its pool and its goroutines costs several times as much, 500 times a second.
func probe(ctx context.Context, addr string, spec Probe) error {
	deadline := time.Now().Add(spec.Timeout)
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return probeFailure(err, spec.Timeout)
	}
	defer conn.Close() //nolint:errcheck // what matters has been read
	if err := conn.SetDeadline(deadline); err != nil {
		return probeFailure(err, spec.Timeout)
	}
	release := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer release()
	request := "GET " + spec.Path + " HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: covetd-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return probeFailure(err, spec.Timeout)
	}
	status, body, err := answer(conn)
	switch {
	case err != nil:
		return probeFailure(err, spec.Timeout)
	case status/100 == 2:
		return nil
	case body != "":
		return fmt.Errorf("answered %d: %s", status, body)
	}
	return fmt.Errorf("answered %d", status)
}

// answer reads a response's status, and of a bad one the first line of the body. A redirect is an answer, and not a 2xx one.
func answer(conn io.Reader) (status int, line string, err error) {
	r := bufio.NewReaderSize(io.LimitReader(conn, maxProbeAnswer), 1<<10)
	for {
		resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // closing would read it; the connection is closed
		if err != nil {
			return 0, "", err
		}
		if resp.StatusCode/100 == 1 { // the real one follows
			continue
		}
		if resp.StatusCode/100 != 2 {
			line = firstLine(resp.Body)
		}
		return resp.StatusCode, line, nil
	}
}

func probeFailure(err error, timeout time.Duration) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("timed out after %s", timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return syscall.ECONNREFUSED
	case errors.Is(err, syscall.ECONNRESET):
		return syscall.ECONNRESET
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("closed the connection without an answer")
	case errors.As(err, &op):
		return op
	}
	return fmt.Errorf("did not answer in HTTP: %w", err)
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func firstLine(r io.Reader) string {
	s := bufio.NewScanner(io.LimitReader(r, maxProbeBody))
	for s.Scan() {
		if line := strings.TrimSpace(strings.ToValidUTF8(s.Text(), "?")); line != "" {
			return line
		}
	}
	return "" // a broken body has no first line; the status is the news
}

// firstProbeDelay is how soon a process is first probed; the delay doubles up to Probe.Interval.
const firstProbeDelay = 20 * time.Millisecond

// pace says how long to wait before the next probe.
func pace(p Probe, ready bool, done int) time.Duration {
	if ready {
		return p.ReadyInterval
	}
	if done < 10 {
		return min(p.Interval, firstProbeDelay<<done)
	}
	return p.Interval
}
