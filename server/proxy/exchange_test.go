package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// deadAddr is a loopback address that refuses connections.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestRefusedConnectionIsTriedElsewhere(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.Join(Target{ID: "dead", Release: "v1", Addr: deadAddr(t)})
	f.worker(t, "good", "v1", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	for range 4 {
		// A body that can be read only once shows that nothing of it was spent on the dead instance.
		r := f.do(t, f.request(t, "POST", "/", io.MultiReader(strings.NewReader("stream"))))
		if r.StatusCode != http.StatusOK || r.body != "stream" {
			t.Errorf("got %d %q", r.StatusCode, r.body)
		}
	}
	s := f.instance(t, "dead")
	if s.Failures.Connect == 0 || s.Failures.Connect != s.Retried || s.Requests != 0 {
		t.Errorf("dead instance: %+v", s.Counters)
	}
}

func TestRefusedConnectionIsTriedInAnotherRelease(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.Join(Target{ID: "dead", Release: "v1", Addr: deadAddr(t)})
	f.worker(t, "good", "v2", named("v2"))
	if err := f.SetWeights(map[string]int{"v1": 100}); err != nil {
		t.Fatal(err)
	}
	if r := f.get(t, "/"); r.body != "v2" {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
}

func TestUnreachableInstanceIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: quickly})
	addr := deadAddr(t)
	f.Join(Target{ID: "a", Release: "v1", Addr: addr})
	answer := make(chan reply, 1)
	go func() { answer <- f.get(t, "/") }()
	eventually(t, "the connection was refused", func() bool { return f.instance(t, "a").Failures.Connect > 0 })
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port was taken by somebody else: %v", err)
	}
	srv := &http.Server{Handler: named("back")}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	if r := <-answer; r.body != "back" {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
}

func TestUnreachableInstanceIs502(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: 50 * time.Millisecond})
	f.Join(Target{ID: "a", Release: "v1", Addr: deadAddr(t)})
	if r := f.get(t, "/"); r.StatusCode != http.StatusBadGateway || !strings.Contains(r.body, `"instances_unreachable"`) {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
	if s := f.Stats(); s.Refused != 1 {
		t.Errorf("refused %d", s.Refused)
	}
}

// TestInstanceThatIsGoneAltogether has a kept connection and a listener that are both gone.
func TestInstanceThatIsGoneAltogether(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: 100 * time.Millisecond})
	gone := make(chan struct{})
	l := f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		saysOnce(ok)(c, r)
		if _, err := http.ReadRequest(r); err == nil {
			<-gone
		}
	})
	f.get(t, "/")
	answer := make(chan reply, 1)
	go func() { answer <- f.get(t, "/") }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	close(gone)
	if r := <-answer; r.StatusCode != http.StatusBadGateway || !strings.Contains(r.body, `"instances_unreachable"`) {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
	if s := f.instance(t, "a"); s.Failures.Connect < 2 || s.Failures.Connect > 10 {
		t.Errorf("%d connections were tried in %v", s.Failures.Connect, 100*time.Millisecond)
	}
}

// closesIdle answers each connection's first requests and closes when another has come, without an answer.
func closesIdle(after int, seen *atomic.Int64) func(c net.Conn, r *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for range after {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			seen.Add(1)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
		if _, err := http.ReadRequest(r); err == nil {
			seen.Add(1)
		}
	}
}

func TestIdempotentRequestIsMadeAgainOverANewConnection(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	var seen atomic.Int64
	f.rawWorker(t, "a", "v1", closesIdle(1, &seen))
	for _, method := range []string{"GET", "GET", "HEAD", "DELETE", "OPTIONS", "PUT"} {
		if r := f.do(t, f.request(t, method, "/", nil)); r.StatusCode != http.StatusOK {
			t.Errorf("%s got %d %q", method, r.StatusCode, r.body)
		}
	}
	if s := f.instance(t, "a"); s.Retried == 0 || s.Failures.Total() != 0 || s.Requests != 6 {
		t.Errorf("retried %d, requests %d, failures %+v", s.Retried, s.Requests, s.Failures)
	}
}

func TestOtherRequestsAreNeverMadeTwice(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]func(f *front) *http.Request{
		"POST":          func(f *front) *http.Request { return f.request(t, "POST", "/", nil) },
		"PATCH":         func(f *front) *http.Request { return f.request(t, "PATCH", "/", nil) },
		"PUT with body": func(f *front) *http.Request { return f.request(t, "PUT", "/", strings.NewReader("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, Options{})
			var seen atomic.Int64
			f.rawWorker(t, "a", "v1", closesIdle(1, &seen))
			f.rawWorker(t, "b", "v1", closesIdle(1, &seen))
			sent, failed := 0, 0
			for range 6 {
				sent++
				if r := f.do(t, req(f)); r.StatusCode == http.StatusBadGateway && strings.Contains(r.body, `"no_answer"`) {
					failed++
				} else if r.StatusCode != http.StatusOK {
					t.Errorf("got %d %q", r.StatusCode, r.body)
				}
			}
			if int(seen.Load()) != sent || failed == 0 {
				t.Errorf("%d requests, %d without an answer, reached the workers %d times", sent, failed, seen.Load())
			}
		})
	}
}

func TestFreshConnectionThatClosesIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	var seen atomic.Int64
	for _, id := range []string{"a", "b"} {
		f.rawWorker(t, id, "v1", closesIdle(0, &seen))
	}
	r := f.get(t, "/")
	if r.StatusCode != http.StatusBadGateway || seen.Load() != 1 || r.Header.Get("X-Covet-Release") != "v1" {
		t.Errorf("got %d %v after %d requests", r.StatusCode, r.Header, seen.Load())
	}
}

// TestWorkerKilledDuringAGet closes everything a worker has while it works on a request that came over a used connection.
func TestWorkerKilledDuringAGet(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	arrived, kill := make(chan struct{}), make(chan struct{})
	l := f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		saysOnce(ok)(c, r)
		if _, err := http.ReadRequest(r); err == nil {
			close(arrived)
			<-kill
			_ = c.(*net.TCPConn).SetLinger(0) // as the kernel does it for a killed process with unread data
		}
	})
	f.get(t, "/")
	answer := make(chan reply, 1)
	go func() { answer <- f.get(t, "/") }()
	<-arrived
	f.worker(t, "b", "v2", named("b"))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	close(kill)
	if r := <-answer; r.body != "b" || r.Header.Get("X-Covet-Release") != "v2" {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
}

// TestNoGetFailsWhileConnectionsCloseAtTheWrongTime has workers close connections after any number of requests, in the
// moment the next one comes, under load.
func TestNoGetFailsWhileConnectionsCloseAtTheWrongTime(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	for i, id := range []string{"a", "b", "c"} {
		var n atomic.Int64
		f.rawWorker(t, id, "v1", func(c net.Conn, r *bufio.Reader) {
			var seen atomic.Int64
			closesIdle(1+int(n.Add(1))%(3+i), &seen)(c, r)
		})
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if r := f.get(t, "/"); r.StatusCode != http.StatusOK || r.body != "ok" {
					t.Errorf("got %d %q", r.StatusCode, r.body)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := f.Stats().Releases[0]; s.Retried == 0 || s.Status[2] != 1600 {
		t.Errorf("retried %d, answered %d", s.Retried, s.Status[2])
	}
}

func TestSilentInstanceIs504(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{ResponseHeaderTimeout: 50 * time.Millisecond})
	for name, serve := range map[string]func(net.Conn, *bufio.Reader){
		"says nothing": func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) },
		"says half": func(c net.Conn, r *bufio.Reader) {
			_, _ = io.WriteString(c, "HTTP/1.1 20")
			_, _ = io.Copy(io.Discard, r)
		},
		"says continue": func(c net.Conn, r *bufio.Reader) {
			_, _ = io.WriteString(c, "HTTP/1.1 100 C\r\n\r\n")
			_, _ = io.Copy(io.Discard, r)
		},
	} {
		f.rawWorker(t, "a", "v1", serve)
		for _, body := range []int64{0, 100, 100_000} {
			r := f.do(t, f.request(t, "POST", "/", io.LimitReader(zeros{}, body)))
			if r.StatusCode != http.StatusGatewayTimeout || !strings.Contains(r.body, `"answer_timeout"`) {
				t.Errorf("%s, body of %d: got %d %q", name, body, r.StatusCode, r.body)
			}
		}
		if s := f.instance(t, "a"); s.Failures.Timeout != 3 {
			t.Errorf("%s: counted %+v", name, s.Failures)
		}
	}
}

func TestTruncatedAnswerDoesNotLookComplete(t *testing.T) {
	t.Parallel()
	reset := func(answer string) func(net.Conn, *bufio.Reader) {
		return func(c net.Conn, r *bufio.Reader) {
			saysOnce(answer)(c, r)
			_ = c.(*net.TCPConn).SetLinger(0)
		}
	}
	big := strings.Repeat("x", 200_000)
	for name, serve := range map[string]func(net.Conn, *bufio.Reader){
		"length":          saysOnce("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
		"long length":     saysOnce("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + big),
		"chunk":           saysOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
		"no last chunk":   saysOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
		"no last line":    saysOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
		"bad chunk":       saysOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
		"reset":           reset("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
		"reset until end": reset("HTTP/1.1 200 OK\r\n\r\nhello"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, Options{})
			f.rawWorker(t, "a", "v1", serve)
			resp, err := f.client.Do(f.request(t, "GET", "/", nil))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if err == nil {
				t.Error("the client took it for a complete answer")
			}
			eventually(t, "it is counted", func() bool { fl := f.instance(t, "a").Failures; return fl.Total() == 1 && fl.Truncated+fl.Closed == 1 })
		})
	}
}

func TestClientThatGoesCancelsTheRequest(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 100, 100_000} {
		f := newFront(t, Options{})
		arrived, cancelled := make(chan struct{}), make(chan struct{})
		f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
			close(cancelled)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		req := f.request(t, "POST", "/", io.LimitReader(zeros{}, size)).WithContext(ctx)
		if resp, err := f.client.Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v", resp, err)
		}
		select {
		case <-cancelled:
		case <-time.After(quickly):
			t.Fatal("the worker was not told")
		}
		eventually(t, "it is counted", func() bool {
			s := f.instance(t, "a")
			return s.Cancelled == 1 && s.InFlight == 0 && s.Failures.Total() == 0
		})
	}
}

func TestClientThatGoesCancelsADownload(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	for _, fields := range []string{"", "chunked"} {
		cancelled := make(chan struct{})
		f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
			if fields == "" {
				w.Header().Set("Content-Length", "1000000000000")
			}
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 10_000)); err != nil {
					break
				}
			}
			close(cancelled)
		})
		resp, err := f.client.Do(f.request(t, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 1_000_000); err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-cancelled:
		case <-time.After(quickly):
			t.Fatal("the worker was not told")
		}
		eventually(t, "it is counted as the client's doing", func() bool {
			s := f.instance(t, "a")
			return s.Cancelled == 1 && s.Failures.Total() == 0 && s.InFlight == 0
		})
	}
}

func TestStatusClassesAndBytesAreCounted(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	status := http.StatusOK
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "12345")
	})
	for _, status = range []int{200, 201, 301, 404, 500, 503} {
		f.do(t, f.request(t, "POST", "/", strings.NewReader("123")))
	}
	s := f.instance(t, "a")
	if s.Status != [6]uint64{0, 0, 2, 1, 1, 2} || s.Requests != 6 || s.Failures.Total() != 0 {
		t.Errorf("status %v, requests %d, failures %+v", s.Status, s.Requests, s.Failures)
	}
	if s.BytesIn != 18 || s.BytesOut != 30 || s.Latency.Count != 6 || s.Latency.Quantile(0.5) <= 0 {
		t.Errorf("in %d, out %d, latencies %d", s.BytesIn, s.BytesOut, s.Latency.Count)
	}
}
