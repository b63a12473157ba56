package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newFront2 is newFront over TLS and HTTP/2.
func newFront2(t *testing.T) *front {
	t.Helper()
	f := newFront(t, Options{})
	srv := httptest.NewUnstartedServer(f.Balancer)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f.url, f.client = srv.URL, srv.Client()
	return f
}

func TestHTTP2Client(t *testing.T) {
	t.Parallel()
	f := newFront2(t)
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Proto", r.Header.Get("X-Forwarded-Proto"))
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
		w.Header().Set("X-Sum", "1")
	})
	for _, size := range []int{0, 10, 1_000_000} {
		body := string(random(size))
		r := f.do(t, f.request(t, "POST", "/", io.MultiReader(strings.NewReader(body))))
		if r.ProtoMajor != 2 || r.body != body || r.err != nil || r.Header.Get("X-Proto") != "https" || size > 0 && r.Trailer.Get("X-Sum") != "1" {
			t.Errorf("%d bytes: HTTP/%d, %d bytes, %v, %v, %v", size, r.ProtoMajor, len(r.body), r.err, r.Header, r.Trailer)
		}
	}
}

func TestHTTP2Duplex(t *testing.T) {
	t.Parallel()
	f := newFront2(t)
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			_, _ = fmt.Fprintln(w, lines.Text())
			w.(http.Flusher).Flush()
		}
	})
	pr, pw := io.Pipe()
	go func() { _, _ = io.WriteString(pw, "line 0\n") }()
	resp, err := f.client.Do(f.request(t, "POST", "/", pr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		if line, err := r.ReadString('\n'); err != nil || line != fmt.Sprintf("line %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := fmt.Fprintf(pw, "line %d\n", i+1); err != nil {
			t.Fatal(err)
		}
	}
	_ = pw.Close()
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "line 3\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestHTTP2TruncatedAnswerAndBodyThatNeverEnds(t *testing.T) {
	t.Parallel()
	f := newFront2(t)
	f.rawWorker(t, "a", "v1", saysOnce("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
	endless, end := io.Pipe()
	defer func() { _ = end.Close() }()
	for _, req := range []*http.Request{f.request(t, "GET", "/", nil), f.request(t, "POST", "/", endless)} {
		resp, err := f.client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the client took a truncated answer for a complete one", req.Method)
		}
	}
	eventually(t, "nothing is in flight", func() bool { return f.instance(t, "a").InFlight == 0 })
}
