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

const maxProbeBody = 512 // bytes of an answer that are read for its first line

// prober asks instances whether they are ready. Each probe takes a new connection, so that it proves that the instance still
// accepts them, and so that none is held open against a server with few.
type prober struct{ client *http.Client }

func newProber() prober {
	return prober{client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect is an answer, and not a 2xx one
		},
	}}
}

// probe returns nil when GET addr/path is answered with a 2xx status, else the reason in a person's words.
func (p prober) probe(ctx context.Context, addr string, spec Probe) error {
	ctx, cancel := context.WithTimeout(ctx, spec.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+spec.Path, nil)
	if err != nil {
		return fmt.Errorf("has no usable path: %w", err)
	}
	req.Header.Set("User-Agent", "covetd-probe")
	resp, err := p.client.Do(req)
	if err != nil {
		return probeFailure(err, spec.Timeout)
	}
	defer resp.Body.Close() //nolint:errcheck // a body only read
	if resp.StatusCode/100 == 2 {
		return nil
	}
	if line := firstLine(resp.Body); line != "" {
		return fmt.Errorf("answered %d: %s", resp.StatusCode, line)
	}
	return fmt.Errorf("answered %d", resp.StatusCode)
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
	case errors.Is(err, io.EOF):
		return errors.New("closed the connection without an answer")
	case errors.As(err, &op):
		return op
	}
	return fmt.Errorf("failed: %w", errors.Unwrap(err)) // the url.Error around it says nothing new
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
