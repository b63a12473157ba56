package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// quickly is how long a test waits for what happens at once.
const quickly = 10 * time.Second

// front is a balancer behind a server.
type front struct {
	*Balancer
	url    string
	client *http.Client
}

func newFront(t *testing.T, o Options) *front {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := New(o)
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &front{Balancer: b, url: srv.URL, client: &http.Client{Transport: tr, Timeout: 3 * quickly}}
}

func (f *front) addr() string { return strings.TrimPrefix(f.url, "http://") }

// worker joins an instance that is served by h.
func (f *front) worker(t *testing.T, id, release string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	f.Join(Target{ID: id, Release: release, Addr: srv.Listener.Addr().String()})
	return srv
}

// named answers with its own name.
func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name) }
}

// rawWorker joins an instance that does with each connection what serve does, byte for byte.
func (f *front) rawWorker(t *testing.T, id, release string, serve func(c net.Conn, r *bufio.Reader)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	f.Join(Target{ID: id, Release: release, Addr: l.Addr().String()})
	return l
}

// says answers every request on a connection with the same bytes.
func says(answer string) func(c net.Conn, r *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	}
}

// saysOnce answers one request and closes.
func saysOnce(answer string) func(c net.Conn, r *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	}
}

// reply is an answer read to its end.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (f *front) do(t *testing.T, req *http.Request) reply {
	t.Helper()
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return reply{Response: resp, body: string(body), err: err}
}

func (f *front) get(t *testing.T, path string, fields ...string) reply {
	t.Helper()
	return f.do(t, f.request(t, http.MethodGet, path, nil, fields...))
}

func (f *front) request(t *testing.T, method, path string, body io.Reader, fields ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	return req
}

// raw sends bytes and returns the connection and a reader of it.
func (f *front) raw(t *testing.T, request string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", f.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(quickly)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// instance returns the counters of an instance.
func (f *front) instance(t *testing.T, id string) InstanceStats {
	t.Helper()
	for _, s := range f.Stats().Instances {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("no instance %q in the stats", id)
	return InstanceStats{}
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(quickly); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for this: %s", quickly, what)
		}
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), quickly)
	t.Cleanup(cancel)
	return ctx
}

func TestForwardsRequestAndAnswer(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header()["X-Two"] = []string{"1", "2"}
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s host=%s len=%d te=%v q=%s body=%s", r.Method, r.URL.EscapedPath(), r.Host,
			r.ContentLength, r.TransferEncoding, r.Header.Get("X-Q"), body)
	})
	req := f.request(t, http.MethodPost, "/a%2Fb/c?x=1&y=%20", strings.NewReader("hello"), "X-Q", "quoted")
	req.Host = "shop.example:8000"
	got := f.do(t, req)
	want := "POST /a%2Fb/c host=shop.example:8000 len=5 te=[] q=quoted body=hello"
	if got.StatusCode != http.StatusTeapot || got.body != want || got.err != nil {
		t.Errorf("got %d %q %v, want 418 %q", got.StatusCode, got.body, got.err, want)
	}
	if v := got.Header["X-Two"]; len(v) != 2 || v[0] != "1" || v[1] != "2" {
		t.Errorf("X-Two is %q", v)
	}
	if v := got.Header.Get("X-Covet-Release"); v != "v1" {
		t.Errorf("X-Covet-Release is %q", v)
	}
}

func TestReusesConnections(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	var opened atomic.Int64
	srv := httptest.NewUnstartedServer(named("a"))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	f.Join(Target{ID: "a", Release: "v1", Addr: srv.Listener.Addr().String()})
	for _, method := range []string{"GET", "POST", "HEAD", "DELETE", "GET"} {
		for range 5 {
			f.do(t, f.request(t, method, "/", nil))
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("25 requests in a row took %d connections, want 1", n)
	}
}
