package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
)

// servePaced is a server that gives a body 400 ms and then 1000 bytes a second, with an upload that says what it read.
func servePaced(t *testing.T) *served {
	t.Helper()
	return serveStack(t, config.Config{BodyGrace: 400 * time.Millisecond, BodyMinRate: 1000}, func(s *Server) {
		s.Router().Post("/upload", func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.WriteHeader(http.StatusRequestTimeout)
			}
			_, _ = fmt.Fprintf(w, "%d bytes, %v", n, err)
		})
		s.Router().Post("/unread", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
		s.Router().Post("/long", func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Errorf("long: %v", err)
			}
			select {
			case <-time.After(time.Second):
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
				t.Error("a long answer was cut off after its request's body")
			}
		})
		s.Router().Post("/echo", func(w http.ResponseWriter, r *http.Request) {
			out := http.NewResponseController(w)
			if err := errors.Join(out.EnableFullDuplex(), out.Flush()); err != nil {
				t.Error(err)
			}
			_, err := io.Copy(w, r.Body)
			_, _ = fmt.Fprintf(w, " end %v", err)
		})
	})
}

// trickle sends a request whose body comes a piece at a time, and returns the answer's first line and how long it took.
func trickle(t *testing.T, s *served, path, piece string, each time.Duration) (string, time.Duration) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	begun := time.Now()
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for sent := 0; sent < 20_000; sent += len(piece) {
			if _, err := io.WriteString(c, piece[:min(len(piece), 20_000-sent)]); err != nil {
				return
			}
			select {
			case <-time.After(each):
			case <-stop:
				return
			}
		}
	}()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		line = err.Error()
	}
	return strings.TrimSpace(line), time.Since(begun)
}

func TestBodiesThatTrickleInAreGivenUp(t *testing.T) {
	t.Parallel()
	s := servePaced(t)
	for name, c := range map[string]struct{ path, want string }{
		"read":         {"/upload", "HTTP/1.1 408 Request Timeout"},
		"not read":     {"/unread", "HTTP/1.1 202 Accepted"},
		"of no route":  {"/nothing", "HTTP/1.1 404 Not Found"},
		"of a login":   {"/auth/token", "HTTP/1.1 404 Not Found"},
		"wrong method": {"/health", "HTTP/1.1 405 Method Not Allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, took := trickle(t, s, c.path, "x", 50*time.Millisecond); got != c.want || took > 10*time.Second {
				t.Errorf("%s after %v, want %s", got, took, c.want)
			}
		})
	}
}

func TestSlowButHonestUploadsGoOn(t *testing.T) {
	t.Parallel()
	s := servePaced(t)
	// 20,000 bytes at about 8,000 a second: several times the grace.
	if got, took := trickle(t, s, "/upload", strings.Repeat("x", 800), 100*time.Millisecond); got != "HTTP/1.1 200 OK" || took < time.Second {
		t.Errorf("%s after %v", got, took)
	}
}

func TestALongAnswerMayFollowABody(t *testing.T) {
	t.Parallel()
	s := servePaced(t)
	if resp, body := s.do(t, http.MethodPost, "/long", strings.NewReader("some text")); resp.StatusCode != http.StatusOK || body != "done" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// Once the answer is under way, the two sides talk with each other: silence is no attack.
func TestStreamsInBothDirectionsMayBeSilent(t *testing.T) {
	t.Parallel()
	s := servePaced(t)
	in, out := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, s.url+"/echo", in)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	time.Sleep(1500 * time.Millisecond) // what is being tested: several times the grace
	if _, err := io.WriteString(out, "still here"); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "still here end <nil>" {
		t.Errorf("%q, %v", body, err)
	}
}
