package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/server"
)

// scripted is a Backend whose answers the test writes down.
type scripted struct {
	ask   func(ctx context.Context, who Identity, op string, q url.Values) (any, error)
	do    func(ctx context.Context, who Identity, op string, body json.RawMessage) (any, error)
	watch func(ctx context.Context, after uint64) iter.Seq2[any, error]
	logs  func(ctx context.Context, q url.Values) iter.Seq2[any, error]
}

func (s scripted) Ask(ctx context.Context, who Identity, op string, q url.Values) (any, error) {
	return s.ask(ctx, who, op, q)
}

func (s scripted) Do(ctx context.Context, who Identity, op string, body json.RawMessage) (any, error) {
	return s.do(ctx, who, op, body)
}

func (s scripted) Watch(ctx context.Context, _ Identity, after uint64) iter.Seq2[any, error] {
	return s.watch(ctx, after)
}

func (s scripted) Logs(ctx context.Context, _ Identity, q url.Values) iter.Seq2[any, error] {
	return s.logs(ctx, q)
}

// codedError is a backend's own error.
type codedError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	status  int
}

func (e *codedError) Error() string   { return e.Message }
func (e *codedError) HTTPStatus() int { return e.status }

var quick = times{body: 300 * time.Millisecond, write: 300 * time.Millisecond, heartbeat: 30 * time.Millisecond, opening: 5 * time.Millisecond}

// serve runs the API over a real unix socket and returns its path and what it logged.
func serve(t *testing.T, b Backend, limits times) (string, *syncBuffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin") // t.TempDir may be longer than a socket's path can be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	socket := filepath.Join(dir, "s.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	log := new(syncBuffer)
	peers := NewPeers()
	srv := &http.Server{
		Handler:     newHandler(b, peers.Identify, slog.New(slog.NewTextHandler(log, nil)), limits),
		ConnContext: server.WithPeer,
		ErrorLog:    slog.NewLogLogger(slog.NewTextHandler(log, nil), slog.LevelError),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return socket, log
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func client(t *testing.T, socket string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func do(t *testing.T, c *http.Client, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://covetd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestAskAndDoTellWhoAsksAndWhat(t *testing.T) {
	t.Parallel()
	socket, _ := serve(t, scripted{
		ask: func(_ context.Context, who Identity, op string, q url.Values) (any, error) {
			return map[string]any{"op": op, "id": q.Get("id"), "uid": who.UID, "pid": who.PID, "via": who.Via}, nil
		},
		do: func(_ context.Context, _ Identity, op string, body json.RawMessage) (any, error) {
			return map[string]any{"op": op, "body": body}, nil
		},
	}, quick)
	c := client(t, socket)

	status, body := do(t, c, "GET", "/v1/rollout?id=r-1", "", nil)
	want := fmt.Sprintf(`{"id":"r-1","op":"rollout","pid":%d,"uid":%d,"via":"unix"}`+"\n", os.Getpid(), os.Getuid())
	if status != 200 || body != want {
		t.Errorf("GET: %d %s, want 200 %s", status, body, want)
	}
	status, body = do(t, c, "POST", "/v1/release.add", `{"version":"v1"}`, nil)
	if want := `{"body":{"version":"v1"},"op":"release.add"}` + "\n"; status != 200 || body != want {
		t.Errorf("POST: %d %s, want 200 %s", status, body, want)
	}
	status, body = do(t, c, "POST", "/v1/rollout.pause", "", http.Header{"Content-Type": {"application/json; charset=utf-8"}})
	if want := `{"body":{},"op":"rollout.pause"}` + "\n"; status != 200 || body != want {
		t.Errorf("POST without a body: %d %s, want 200 %s", status, body, want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	called := make(chan string, 100)
	socket, _ := serve(t, scripted{
		ask: func(_ context.Context, _ Identity, op string, _ url.Values) (any, error) {
			called <- op
			return nil, nil
		},
		do: func(_ context.Context, _ Identity, op string, _ json.RawMessage) (any, error) {
			called <- op
			return nil, nil
		},
	}, quick)
	c := client(t, socket)
	cases := []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
		code                     string
	}{
		{"no such place", "GET", "/v2/status", "", nil, 404, "not_found"},
		{"root", "GET", "/", "", nil, 404, "not_found"},
		{"bad op", "GET", "/v1/Status", "", nil, 404, "not_found"},
		{"long op", "GET", "/v1/" + strings.Repeat("a", 65), "", nil, 404, "not_found"},
		{"method", "DELETE", "/v1/release", "", nil, 405, "usage"},
		{"method on a stream", "POST", "/v1/watch", "{}", nil, 405, "usage"},
		{"form", "POST", "/v1/rollback", "to=v1", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415, "usage"},
		{"no type", "POST", "/v1/rollback", "{}", http.Header{"Content-Type": nil}, 415, "usage"},
		{"not JSON", "POST", "/v1/rollback", "{", nil, 400, "usage"},
		{"two documents", "POST", "/v1/rollback", "{}{}", nil, 400, "usage"},
		{"too large", "POST", "/v1/rollback", `"` + strings.Repeat("x", maxBody) + `"`, nil, 413, "usage"},
		{"a browser", "POST", "/v1/rollback", "{}", http.Header{"Origin": {"https://evil.example"}}, 403, "denied"},
		{"an opaque browser", "POST", "/v1/rollback", "{}", http.Header{"Origin": {"null"}}, 403, "denied"},
		{"a browser's fetch", "GET", "/v1/status", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "denied"},
		{"after", "GET", "/v1/watch?after=-1", "", nil, 400, "usage"},
		{"after in words", "GET", "/v1/watch?after=now", "", nil, 400, "usage"},
	}
	for _, tc := range cases {
		status, body := do(t, c, tc.method, tc.path, tc.body, tc.header)
		var told codedError
		if err := json.Unmarshal([]byte(body), &told); err != nil {
			t.Errorf("%s: the error is not JSON: %v: %s", tc.name, err, body)
		}
		if status != tc.status || told.Code != tc.code || told.Message == "" {
			t.Errorf("%s: %d %+v, want %d %s with a message", tc.name, status, told, tc.status, tc.code)
		}
	}
	if len(called) != 0 {
		t.Errorf("a refused request reached the backend: %s", <-called)
	}
}

func TestUnidentifiedPeerIsRefused(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody vouches for a peer over TCP
	if err != nil {
		t.Fatal(err)
	}
	peers := NewPeers()
	srv := &http.Server{Handler: New(scripted{}, peers.Identify, slog.New(slog.DiscardHandler)), ConnContext: server.WithPeer}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", resp.StatusCode)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	<-done
}

func TestErrorsAreToldAsTheyAre(t *testing.T) {
	t.Parallel()
	answers := map[string]error{
		"coded":     &codedError{"locked", "r-1 is under way", "wait for it", 423},
		"wrapped":   fmt.Errorf("start: %w", &codedError{"locked", "r-1 is under way", "", 409}),
		"plain":     errors.New("the disk is full"),
		"cancelled": fmt.Errorf("look: %w", context.DeadlineExceeded),
	}
	socket, log := serve(t, scripted{ask: func(_ context.Context, _ Identity, op string, _ url.Values) (any, error) {
		switch op {
		case "crash":
			panic("boom")
		case "unspeakable":
			return func() {}, nil
		}
		return nil, answers[op]
	}}, quick)
	c := client(t, socket)
	cases := []struct {
		op, body string
		status   int
	}{
		{"coded", `{"code":"locked","message":"r-1 is under way","hint":"wait for it"}`, 423},
		{"wrapped", `{"code":"locked","message":"r-1 is under way"}`, 409},
		{"plain", `{"code":"internal","message":"the disk is full"}`, 500},
		{"cancelled", `{"code":"unreachable","message":"covetd gave up on the request: look: context deadline exceeded"}`, 503},
		{"crash", `{"code":"internal","message":"covetd failed on this request; it runs on","hint":"covetd's log has the details"}`, 500},
		{"unspeakable", `{"code":"internal","message":"write the answer as JSON: json: unsupported type: func()"}`, 500},
	}
	for _, tc := range cases {
		status, body := do(t, c, "GET", "/v1/"+tc.op, "", nil)
		if status != tc.status || strings.TrimSpace(body) != tc.body {
			t.Errorf("%s: %d %s, want %d %s", tc.op, status, body, tc.status, tc.body)
		}
	}
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("the crash is not in the log: %s", log)
	}
}

func TestCommandOutlivesTheDeadlineOfItsBody(t *testing.T) {
	t.Parallel()
	socket, _ := serve(t, scripted{do: func(ctx context.Context, _ Identity, _ string, _ json.RawMessage) (any, error) {
		select {
		case <-time.After(3 * quick.body):
			return "done", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}, quick)
	for _, body := range []string{"", `{"plan":true}`} {
		if status, got := do(t, client(t, socket), "POST", "/v1/rollback", body, nil); status != 200 || got != "\"done\"\n" {
			t.Errorf("body %q: %d %s, want 200 \"done\"", body, status, got)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{"", "{}", "[]", "{", `{"a":1}{}`, "\xff", `"\ud800"`} {
		f.Add(seed, "application/json")
	}
	f.Add("{}", "application/json;;=")
	f.Fuzz(func(t *testing.T, body, kind string) {
		h := &handler{times: quick}
		r, err := http.NewRequest(http.MethodPost, "/v1/rollback", strings.NewReader(body))
		if err != nil {
			t.Skip("not a request at all")
		}
		r.Header.Set("Content-Type", kind)
		raw, err := h.body(discard{}, r)
		if err == nil && !json.Valid(raw) {
			t.Errorf("body %q passed as %q, which is not JSON", body, raw)
		}
		if err != nil && tell(err).HTTPStatus() >= 500 {
			t.Errorf("body %q: %v is the caller's fault, not covetd's", body, err)
		}
	})
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
