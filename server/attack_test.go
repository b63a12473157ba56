package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
)

// statusOf reads the status line of an answer.
func statusOf(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

func dial(t *testing.T, s *service) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Clients that send their headers a byte at a time are cut off, and meanwhile everybody else is served.
func TestAttackSlowloris(t *testing.T) {
	t.Parallel()
	s := startService(t, "READ_HEADER_TIMEOUT=1s")
	s.awaitLog(`"message":"ready"`)
	const attackers = 100
	ended := make(chan time.Duration, attackers)
	for range attackers {
		c := dial(t, s)
		begun := time.Now()
		go func() {
			_, _ = io.WriteString(c, "GET /pid HTTP/1.1\r\nHost: x\r\n")
			for {
				if _, err := io.WriteString(c, "X"); err != nil {
					ended <- time.Since(begun)
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
	}
	for range 20 {
		if _, err := s.get("/pid"); err != nil {
			t.Errorf("an honest client: %v", err)
		}
	}
	for range attackers {
		select {
		case took := <-ended:
			if took < 500*time.Millisecond {
				t.Errorf("cut off after %v, before its time", took)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a connection stays open")
		}
	}
}

func TestAttackHeaderFloodsAndBodies(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.awaitLog(`"message":"ready"`)
	for name, c := range map[string]struct{ request, want string }{
		"one large header":    {"GET /pid HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"many small ones":     {"GET /pid HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 20_000) + "\r\n", "HTTP/1.1 431 "},
		"a long path":         {"GET /" + strings.Repeat("a", 100<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 431 "},
		"11 MB announced":     {"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Length: 11534336\r\n\r\n", "HTTP/1.1 413 "},
		"two lengths":         {"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "HTTP/1.1 400 "},
		"chunked of two":      {"POST /pid HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "},
		"no host":             {"GET /pid HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		"space before colon":  {"GET /pid HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello", "HTTP/1.1 400 "},
		"folded header":       {"GET /pid HTTP/1.1\r\nHost: x\r\n X-A: b\r\n\r\n", "HTTP/1.1 400 "},
		"newline in a header": {"GET /pid HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n", "HTTP/1.1 400 "},
	} {
		conn := dial(t, s)
		go func() { _, _ = io.WriteString(conn, c.request) }() // it may be cut off before its end
		if got := statusOf(t, conn); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if _, err := s.get("/pid"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A chunked body announces no length: it is cut where the limit is reached, whoever reads it.
func TestAttackEndlessBody(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Post("/", func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			read <- fmt.Errorf("%d: %w", n, err)
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		})
	})
	resp, err := http.Post(s.url, "text/plain", io.LimitReader(zeros{}, 64<<20))
	if err == nil {
		_ = resp.Body.Close()
	}
	if got := (<-read).Error(); got != "10485760: http: request body too large" {
		t.Errorf("read %s", got)
	}
}

func TestAttackPathsKeepMetricsFlat(t *testing.T) {
	t.Parallel()
	s, err := New(config.Config{PrometheusEnabled: true, Security: config.SecurityConfig{RateLimitEnabled: true, RateLimitPerMinute: 1_000_000}}, WithLogOutput(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	s.Router().Get("/products/{id}", func(http.ResponseWriter, *http.Request) {})
	for i := range 50_000 {
		path := fmt.Sprintf("/%d", i)
		if i%2 == 0 {
			path = "/products" + path
		}
		r, err := http.NewRequest([]string{"GET", "POST", "X" + fmt.Sprint(i)}[i%3], path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = fmt.Sprintf("192.0.%d.%d:1", i>>8&255, i&255)
		s.ServeHTTP(&blankWriter{header: http.Header{}}, r)
	}
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "covetpy_") {
			series += len(f.GetMetric())
		}
	}
	if series > 40 {
		t.Errorf("%d series after 50,000 paths", series)
	}
}

// What follows a chunked request on its connection is not taken for another one, whatever length was said beside; and
// HTTP/2 is not taken for a request of HTTP/1.
func TestAttackSmuggling(t *testing.T) {
	t.Parallel()
	var paths []string
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().HandleFunc("/*", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			paths = append(paths, r.Method+" "+r.URL.Path)
		})
	})
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, request := range map[string]string{
		"length and chunks": "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks and length": "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + smuggled,
		"HTTP/1.0":          "POST /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"HTTP/2":            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled,
	} {
		paths = nil
		answer := raw(t, s, request)
		if strings.Count(answer, "HTTP/1.") != 1 || !strings.Contains(answer, "Connection: close") || len(paths) > 1 || strings.Contains(fmt.Sprint(paths), "smuggled") {
			t.Errorf("%s: %v, %s", name, paths, answer)
		}
	}
}
