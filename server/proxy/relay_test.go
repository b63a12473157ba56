package proxy

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestEventsComeAtOnce(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	step := make(chan struct{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-step
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	})
	resp, err := f.client.Do(f.request(t, "GET", "/", nil)) // returns when the head is there, before any event
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		step <- struct{}{}
		line, err := r.ReadString('\n')
		if _, err2 := r.ReadString('\n'); err != nil || err2 != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v, %v", i, line, err, err2)
		}
	}
}

// TestSlowBodyOfKnownLengthComesAtOnce holds the second half back until the client has the first.
func TestSlowBodyOfKnownLengthComesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	seen := make(chan struct{})
	f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			_, _ = io.WriteString(c, "hello")
			<-seen
			_, _ = io.WriteString(c, "world")
		}
	})
	resp, err := f.client.Do(f.request(t, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	half := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, half); err != nil || string(half) != "hello" {
		t.Fatalf("%q, %v", half, err)
	}
	close(seen)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "world" {
		t.Errorf("%q, %v", rest, err)
	}
}

// random is a body that can be checked.
func random(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(b)
	return b
}

func TestBodiesOfAllSizesBothWays(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		for piece := range slices.Chunk(body, 9000) {
			_, _ = w.Write(piece)
		}
	})
	for _, size := range []int{0, 1, smallBody - 1, smallBody, smallBody + 1, connBuffer - 1, connBuffer, bulkBuffer - 10, bulkBuffer, bulkBuffer + 1, spliceFrom + connBuffer, 3_000_000} {
		body := random(size)
		for _, query := range []string{"?length", "?chunks"} {
			for _, known := range []bool{true, false} {
				req := f.request(t, "POST", "/"+query, io.MultiReader(strings.NewReader(string(body))))
				if known {
					req.ContentLength = int64(size)
				}
				r := f.do(t, req)
				if r.err != nil || sha256.Sum256([]byte(r.body)) != sha256.Sum256(body) {
					t.Errorf("%d bytes, %s, length known %v: got %d bytes, %v", size, query, known, len(r.body), r.err)
				}
			}
		}
	}
	if s := f.instance(t, "a"); s.BytesIn != s.BytesOut || s.Failures.Total() != 0 {
		t.Errorf("in %d, out %d, failures %+v", s.BytesIn, s.BytesOut, s.Failures)
	}
}

func TestHeadAndAnswersWithoutBody(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	for _, c := range []struct {
		method, answer string
		status         int
		length         string
	}{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200, "1234"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, ""},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
		{"GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304, ""},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"},
	} {
		f.rawWorker(t, "a", "v1", says(c.answer))
		for range 3 { // the second and third show that nothing is left on the connection
			r := f.do(t, f.request(t, c.method, "/", nil))
			if r.StatusCode != c.status || r.body != "" || r.Header.Get("Content-Length") != c.length || r.Header.Get("Content-Type") != "" {
				t.Errorf("%s %q: got %d %v %q", c.method, c.answer, r.StatusCode, r.Header, r.body)
			}
		}
	}
}

func TestAnswerUntilTheConnectionCloses(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	body := string(random(300_000))
	f.rawWorker(t, "a", "v1", saysOnce("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"+body))
	for range 3 {
		if r := f.get(t, "/"); r.body != body || r.err != nil {
			t.Errorf("got %d bytes, %v", len(r.body), r.err)
		}
	}
}

func TestTrailersBothWays(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Client-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	})
	for _, size := range []int{3, 100_000} {
		req := f.request(t, "POST", "/", io.LimitReader(zeros{}, int64(size)))
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Client-Sum": {strconv.Itoa(size)}}
		r := f.do(t, req)
		if len(r.body) != size || r.err != nil || r.Trailer.Get("X-Sum") != strconv.Itoa(size) || r.Trailer.Get("X-Late") != "unannounced" {
			t.Errorf("%d bytes: got %d, trailers %v, %v", size, len(r.body), r.Trailer, r.err)
		}
	}
}

func TestEarlyHintsPass(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	})
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}}
	req := f.request(t, "GET", "/", nil)
	r := f.do(t, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if len(hints) != 1 || hints[0] != "103</style.css>; rel=preload" || r.body != "done" || r.Header.Get("Link") != "" {
		t.Errorf("hints %v, then %q with Link %q", hints, r.body, r.Header.Get("Link"))
	}
}

func TestHopByHopFieldsStop(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	got := make(chan http.Header, 1)
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		h := w.Header()
		h.Set("Connection", "X-Private")
		h.Set("X-Private", "secret")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Proxy-Authenticate", "Basic")
		h.Set("Upgrade", "x")
		h.Set("X-Public", "yes")
	})
	c, r := f.raw(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Mine, X-Canary\r\nX-Mine: secret\r\nKeep-Alive: 5\r\n"+
		"Proxy-Authorization: Basic xxx\r\nProxy-Connection: keep-alive\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX-Ours: yes\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	seen := <-got
	for _, name := range []string{"X-Mine", "Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Upgrade", "Http2-Settings"} {
		if v, ok := seen[name]; ok {
			t.Errorf("the worker got %s: %q", name, v)
		}
	}
	if seen.Get("X-Ours") != "yes" || seen.Get("Te") != "trailers" {
		t.Errorf("the worker got %v", seen)
	}
	for _, name := range []string{"X-Private", "Keep-Alive", "Proxy-Authenticate", "Upgrade", "Connection"} {
		if v, ok := resp.Header[name]; ok {
			t.Errorf("the client got %s: %q", name, v)
		}
	}
	if resp.Header.Get("X-Public") != "yes" {
		t.Errorf("the client got %v", resp.Header)
	}
}

func TestAnswerTakesThePlaceOfMiddlewareFields(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{HideRelease: true})
	f.rawWorker(t, "a", "v1", says("HTTP/1.1 200 OK\r\nX-Frame-Options: DENY\r\nSet-Cookie: w=1\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n"))
	rec := httptest.NewRecorder()
	for _, f := range [][2]string{{"X-Frame-Options", "SAMEORIGIN"}, {"Set-Cookie", "m=1"}, {"Vary", "Origin"}, {"X-Request-Id", "7"}} {
		rec.Header().Add(f[0], f[1])
	}
	f.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	h := rec.Result().Header
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Set-Cookie": "m=1 w=1", "Vary": "Origin Accept", "X-Request-Id": "7", "X-Covet-Release": ""} {
		if got := strings.Join(h[name], " "); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestLongDownloadOutlivesTimeouts has a pause in the body longer than the time-out for the head.
func TestLongDownloadOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{ResponseHeaderTimeout: 400 * time.Millisecond})
	for _, answer := range []string{"Content-Length: 100010\r\n\r\nhello", "Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
			saysOnce("HTTP/1.1 200 OK\r\n"+answer)(c, r)
			time.Sleep(600 * time.Millisecond)
			switch {
			case strings.Contains(answer, "chunked"):
				_, _ = io.WriteString(c, "5\r\nworld\r\n0\r\n\r\n")
			case strings.Contains(answer, "100010"):
				_, _ = io.WriteString(c, strings.Repeat("x", 100_005))
			default:
				_, _ = io.WriteString(c, "world")
			}
		})
		if r := f.get(t, "/"); r.err != nil || len(r.body) < 10 {
			t.Errorf("%.30q: %d bytes, %v", answer, len(r.body), r.err)
		}
	}
}

func TestHTTP10Client(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "world")
	})
	_, r := f.raw(t, "GET / HTTP/1.0\r\n\r\n")
	all, err := io.ReadAll(r)
	if err != nil || !strings.HasPrefix(string(all), "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(string(all), "\r\n\r\nhelloworld") {
		t.Errorf("got %q, %v", all, err)
	}
}
