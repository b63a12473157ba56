package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/covetpy/covet/server/config"
)

// served is a server's stack behind a real listener, without its life.
type served struct {
	*Server
	url string
	log *logBuffer
}

func serveStack(t *testing.T, cfg config.Config, routes func(s *Server)) *served {
	t.Helper()
	log := &logBuffer{}
	s, err := New(cfg, WithLogOutput(log))
	if err != nil {
		t.Fatal(err)
	}
	if routes != nil {
		routes(s)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return &served{s, srv.URL, log}
}

// do sends a request and returns the answer with its body read.
func (s *served) do(t *testing.T, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// lines returns the access log as far as it is, parsed.
func (s *served) lines(t *testing.T) []map[string]any {
	t.Helper()
	s.Server.log.sink.flush()
	var out []map[string]any
	for line := range strings.Lines(s.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		out = append(out, fields)
	}
	return out
}

func TestStackHeaders(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Get("/plain", func(http.ResponseWriter, *http.Request) {})
		s.Router().Get("/own", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Frame-Options", "SAMEORIGIN")
			w.Header()["Referrer-Policy"] = nil
			w.Header().Add("X-Content-Type-Options", "mine")
			_, _ = io.WriteString(w, "x")
		})
	})
	resp, _ := s.do(t, "GET", "/plain", nil)
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "strict-origin-when-cross-origin", "Content-Security-Policy": "", "Strict-Transport-Security": ""} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	resp, _ = s.do(t, "GET", "/own", nil)
	if got := fmt.Sprint(resp.Header["X-Frame-Options"], resp.Header["Referrer-Policy"], resp.Header["X-Content-Type-Options"]); got != "[SAMEORIGIN] [] [mine]" {
		t.Errorf("the application's own headers came out as %s", got)
	}
	resp, _ = s.do(t, "GET", "/health/live", nil)
	if got := resp.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
		t.Errorf("own page's policy %q", got)
	}
}

func TestStackStrictTransportOnlyOverTLS(t *testing.T) {
	t.Parallel()
	s, err := New(config.Config{}, WithLogOutput(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(s)
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security over TLS")
	}
}

func TestStackRequestIDs(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Get("/id", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, RequestID(r.Context())+" "+r.Header.Get("X-Request-ID"))
		})
	})
	for sent, kept := range map[string]bool{"abc-DEF_1.23": true, "": false, "short": false, "has space here": false,
		`quo"te-quote`: false, strings.Repeat("x", 129): false} {
		resp, body := s.do(t, "GET", "/id", nil, "X-Request-ID", sent)
		id := resp.Header.Get("X-Request-ID")
		if (id == sent) != kept {
			t.Errorf("sent %q, answered %q", sent, id)
		}
		if body != id+" "+id || len(id) < 8 {
			t.Errorf("the handler saw %q, the client %q", body, id)
		}
	}
	first, second := newRequestID(), newRequestID()
	if first == second || !saneRequestID(first) {
		t.Errorf("made %q and %q", first, second)
	}
}

func TestStackMetricsNamePatternsOnly(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{PrometheusEnabled: true}, func(s *Server) {
		s.Router().Get("/products/{id}", func(http.ResponseWriter, *http.Request) {})
		s.Router().Route("/api", func(r chi.Router) { r.Get("/orders/{id}/lines", func(http.ResponseWriter, *http.Request) {}) })
	})
	for i := range 20 {
		s.do(t, "GET", fmt.Sprintf("/products/%d", i), nil)
		s.do(t, "GET", fmt.Sprintf("/nowhere/%d", i), nil)
		s.do(t, fmt.Sprintf("VERB%d", i), "/products/1", nil)
	}
	s.do(t, "GET", "/api/orders/7/lines", nil)
	_, text := s.do(t, "GET", "/metrics", nil)
	for _, want := range []string{
		`covetpy_requests_total{endpoint="/products/{id}",method="GET",status="200"} 20`,
		`covetpy_requests_total{endpoint="unmatched",method="GET",status="404"} 20`,
		`covetpy_requests_total{endpoint="unmatched",method="OTHER",status="405"} 20`,
		`covetpy_requests_total{endpoint="/api/orders/{id}/lines",method="GET",status="200"} 1`,
		`covetpy_request_duration_seconds_count{endpoint="/products/{id}",method="GET"} 20`,
		"covetpy_active_connections", "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(text, "nowhere") || strings.Contains(text, "VERB") {
		t.Error("what a client sent became a label")
	}
}

func TestStackFallback(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{PrometheusEnabled: true}, func(s *Server) {
		s.Fallback(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "fallback "+r.Method) }))
	})
	for _, path := range []string{"/", "/anything/else"} {
		if resp, body := s.do(t, "POST", path, nil); resp.StatusCode != http.StatusOK || body != "fallback POST" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, _ := s.do(t, "POST", "/health", nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /health: %d", resp.StatusCode)
	}
	if _, text := s.do(t, "GET", "/metrics", nil); !strings.Contains(text, `covetpy_requests_total{endpoint="/*",method="POST",status="200"} 2`) {
		t.Error("the fallback's endpoint is not /*")
	}
}

func TestStackPanics(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Get("/early", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			panic("oh no")
		})
		s.Router().Get("/late", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(errors.New("too late"))
		})
	})
	resp, body := s.do(t, "GET", "/early", nil)
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != http.StatusInternalServerError || p.RequestID != resp.Header.Get("X-Request-ID") {
		t.Errorf("%d %s, %v", resp.StatusCode, body, err)
	}
	resp, err := http.Get(s.url + "/late")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer that broke off looks whole to the client")
	}
	var stacks int
	for _, line := range s.lines(t) {
		if stack, _ := line["stack"].(string); strings.Contains(stack, "stack_test.go") && line["request_id"] != "" {
			stacks++
		}
	}
	if stacks != 2 {
		t.Errorf("%d stacks in the log, want 2", stacks)
	}
	if n := s.flight.count(); n != 0 {
		t.Errorf("%d requests are still counted as in flight", n)
	}
}

func TestStackBodyLimit(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{MaxBodyBytes: 1000}, func(s *Server) {
		s.Router().Post("/", func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		})
	})
	for name, c := range map[string]struct {
		body io.Reader
		want int
	}{
		"fits":      {bytes.NewReader(make([]byte, 1000)), 200},
		"announced": {bytes.NewReader(make([]byte, 1001)), 413},
		"chunked":   {io.MultiReader(bytes.NewReader(make([]byte, 1001))), 413},
	} {
		if resp, _ := s.do(t, "POST", "/", c.body); resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, c.want)
		}
	}
}

func TestStackAccessLog(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{LogFormat: "json"}, func(s *Server) {
		s.Router().Get("/*", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short and stout")
		})
	})
	s.do(t, "GET", `/a%22b%0A%ff?token=geheim`, nil, "X-Request-ID", "known-id-1")
	s.do(t, "GET", "/health/live", nil)
	lines := s.lines(t)
	if len(lines) != 1 {
		t.Fatalf("%d lines, want the one that is no health probe: %v", len(lines), lines)
	}
	l := lines[0]
	for key, want := range map[string]any{"level": "INFO", "logger": "access", "message": "request", "request_id": "known-id-1",
		"method": "GET", "path": "/a\"b\n\ufffd", "status": 418.0, "bytes": 15.0, "client_ip": "127.0.0.1"} {
		if l[key] != want {
			t.Errorf("%s is %v, want %v", key, l[key], want)
		}
	}
	if at, err := time.Parse(time.RFC3339, fmt.Sprint(l["timestamp"])); err != nil || time.Since(at) > time.Minute {
		t.Errorf("timestamp %v", l["timestamp"])
	}
	if ms, ok := l["duration_ms"].(float64); !ok || ms < 0 || ms > 60_000 {
		t.Errorf("duration %v", l["duration_ms"])
	}
	if strings.Contains(s.log.String(), "geheim") {
		t.Error("the query string is in the log")
	}
}

func TestStackTextLog(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{LogFormat: "text"}, nil)
	s.do(t, "GET", "/with%20space", nil)
	s.Server.log.sink.flush()
	if text := s.log.String(); !strings.Contains(text, `path="/with space" status=404`) {
		t.Errorf("log %q", text)
	}
}

// The writer must let through what net/http's can do, and what proxies and WebSockets need.
func TestStackWriterAbilities(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Get("/flush", func(w http.ResponseWriter, r *http.Request) {
			if _, ok := w.(http.Flusher); !ok {
				t.Error("no http.Flusher")
			}
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "a")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		})
		s.Router().Get("/copy", func(w http.ResponseWriter, _ *http.Request) {
			rf, ok := w.(io.ReaderFrom)
			if !ok {
				t.Error("no io.ReaderFrom")
				return
			}
			if n, err := rf.ReadFrom(strings.NewReader("hello")); n != 5 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
		s.Router().Get("/hijack", func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw")
			_ = rw.Flush()
		})
	})
	resp, err := http.Get(s.url + "/flush")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := bufio.NewReader(resp.Body).ReadByte(); err != nil || b != 'a' {
		t.Errorf("the flushed byte: %q, %v", b, err)
	}
	_ = resp.Body.Close()
	if _, body := s.do(t, "GET", "/copy", nil); body != "hello" {
		t.Errorf("copied %q", body)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	if text, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(text), "\r\n\r\nraw") {
		t.Errorf("hijacked: %q, %v", text, err)
	}
}

// A worker that sets the same headers itself must not lead to two of each behind a proxy.
func TestStackBehindReverseProxy(t *testing.T) {
	t.Parallel()
	worker := serveStack(t, config.Config{}, func(s *Server) { s.Router().Get("/*", func(http.ResponseWriter, *http.Request) {}) })
	target, err := url.Parse(worker.url)
	if err != nil {
		t.Fatal(err)
	}
	front := serveStack(t, config.Config{}, func(s *Server) {
		s.Fallback(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	})
	resp, _ := front.do(t, "GET", "/x", nil)
	for _, name := range []string{"X-Request-Id", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"} {
		if v := resp.Header[name]; len(v) != 1 {
			t.Errorf("%s: %q", name, v)
		}
	}
	if lines := worker.lines(t); len(lines) != 1 || lines[0]["request_id"] != resp.Header.Get("X-Request-ID") {
		t.Errorf("the worker logged %v, the client got id %s", lines, resp.Header.Get("X-Request-ID"))
	}
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, c := range []struct {
		remote    string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		{"192.0.2.1:5000", []string{"1.1.1.1"}, nil, "192.0.2.1"},
		{"192.0.2.1:5000", []string{"1.1.1.1"}, trusted, "192.0.2.1"},
		{"10.0.0.1:5000", nil, trusted, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"203.0.113.9"}, trusted, "203.0.113.9"},
		{"10.0.0.1:5000", []string{"6.6.6.6, 203.0.113.9, 10.0.0.2"}, trusted, "203.0.113.9"},
		{"10.0.0.1:5000", []string{"6.6.6.6", "203.0.113.9"}, trusted, "203.0.113.9"},
		{"10.0.0.1:5000", []string{"nonsense, 10.0.0.3"}, trusted, "10.0.0.3"},
		{"10.0.0.1:5000", []string{"6.6.6.6, , nonsense"}, trusted, "10.0.0.1"},
		{"[2001:db8::1]:5000", []string{"[2001:470::7]:99"}, trusted, "2001:470::7"},
		{"[::ffff:10.0.0.1]:5000", []string{"203.0.113.9:1234"}, trusted, "203.0.113.9"},
		{"@", []string{"6.6.6.6"}, trusted, "@"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := clientIP(r, c.trusted); got != c.want {
			t.Errorf("%s forwarding %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func TestRequestsInFlightAreListed(t *testing.T) {
	t.Parallel()
	arrived, leave := make(chan struct{}), make(chan struct{})
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Get("/wait", func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-leave })
	})
	for range 3 {
		go func() {
			if resp, err := http.Get(s.url + "/wait"); err == nil {
				_ = resp.Body.Close()
			}
		}()
		<-arrived
	}
	list := s.flight.list()
	if len(list) != 3 || s.flight.count() != 3 {
		t.Fatalf("%d listed, %d counted", len(list), s.flight.count())
	}
	for i, f := range list {
		if f.path != "/wait" || f.method != "GET" || f.clientIP != "127.0.0.1" || (i > 0 && f.start.Before(list[i-1].start)) {
			t.Errorf("request %d: %+v", i, f)
		}
	}
	close(leave)
}
