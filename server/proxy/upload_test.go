package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// slowBody hands out its pieces when told to.
type slowBody struct{ pieces chan string }

func (b *slowBody) Read(p []byte) (int, error) {
	s, ok := <-b.pieces
	if !ok {
		return 0, io.EOF
	}
	return copy(p, s), nil
}

func TestAnswerStreamsWhileTheBodyIsStillComing(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	body := &slowBody{pieces: make(chan string, 1)}
	body.pieces <- "ping0"
	resp, err := f.client.Do(f.request(t, "POST", "/", body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for i := range 5 {
		got := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != fmt.Sprintf("ping%d", i) {
			t.Fatalf("%q, %v", got, err)
		}
		body.pieces <- fmt.Sprintf("ping%d", i+1)
	}
	close(body.pieces)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "ping5" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestEarlyAnswerReachesAClientThatIsStillSending(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
		}
	})
	for range 10 {
		// Sent without looking at the answer until all is sent, as many clients do.
		c, r := f.raw(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
		if _, err := io.CopyN(c, zeros{}, 5_000_000); err != nil {
			t.Fatalf("the connection was closed on the client: %v", err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "big" || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("%d %q, %v", resp.StatusCode, body, err)
		}
	}
	if s := f.instance(t, "a"); s.Status[4] != 10 || s.Failures.Total() != 0 {
		t.Errorf("status %v, failures %+v", s.Status, s.Failures)
	}
}

func TestWorkerThatDiesDuringAnUploadIs502(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = r.Discard(10_000)
		}
	})
	r := f.do(t, f.request(t, "POST", "/", io.LimitReader(zeros{}, 5_000_000)))
	if r.StatusCode != http.StatusBadGateway || !strings.Contains(r.body, `"no_answer"`) {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
}

// TestBrokenBodyIsNotTakenForAWholeOne cuts the client's body short: the worker must not see a complete request.
func TestBrokenBodyIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	var complete atomic.Bool
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			complete.Store(true)
		}
	})
	for _, request := range []string{
		"Content-Length: 10\r\n\r\nhello",
		"Content-Length: 100000\r\n\r\nhello",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
	} {
		c, r := f.raw(t, "POST / HTTP/1.1\r\nHost: x\r\n"+request)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if resp, err := http.ReadResponse(r, nil); err == nil && resp.StatusCode != http.StatusBadRequest && resp.StatusCode != statusClientGone {
			t.Errorf("%.40q: got %d", request, resp.StatusCode)
		}
		eventually(t, "the request is over", func() bool { return f.instance(t, "a").InFlight == 0 })
	}
	if complete.Load() {
		t.Error("the worker took a broken body for a whole one")
	}
	if s := f.instance(t, "a"); s.Failures.Total() != 0 {
		t.Errorf("the client's fault was counted as the instance's: %+v", s.Failures)
	}
}

func TestBodyOverTheServersLimitIs413(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	limited := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1000)
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(limited.Close)
	for _, size := range []int64{1000, 1001, 10_000, 1_000_000} {
		for _, known := range []bool{true, false} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, limited.URL, io.LimitReader(zeros{}, size))
			if err != nil {
				t.Fatal(err)
			}
			if known {
				req.ContentLength = size
			}
			want := http.StatusRequestEntityTooLarge
			if size <= 1000 {
				want = http.StatusOK
			}
			if r := f.do(t, req); r.StatusCode != want {
				t.Errorf("%d bytes, length known %v: got %d %q", size, known, r.StatusCode, r.body)
			}
		}
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	tr := &http.Transport{ExpectContinueTimeout: quickly}
	t.Cleanup(tr.CloseIdleConnections)
	f.client.Transport = tr
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	for path, want := range map[string]string{"/take": "hello", "/refuse": ""} {
		var told, read atomic.Bool
		req := f.request(t, "POST", path, readerFunc(func(p []byte) (int, error) {
			if read.Swap(true) {
				return 0, io.EOF
			}
			return copy(p, "hello"), nil
		}), "Expect", "100-continue")
		req.ContentLength = 5
		trace := &httptrace.ClientTrace{Got100Continue: func() { told.Store(true) }}
		r := f.do(t, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		if r.body != want || told.Load() != (want != "") || read.Load() != (want != "") {
			t.Errorf("%s: got %d %q, told to go on %v, body read %v", path, r.StatusCode, r.body, told.Load(), read.Load())
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestExpectContinueOfAWorkerThatNeverAsks sends the body all the same after a while.
func TestExpectContinueOfAWorkerThatNeverAsks(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	_, r := f.raw(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"+"hello")
	resp, err := http.ReadResponse(r, nil)
	if err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(r, nil)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestUploadSlowerThanTheTimeoutForAnAnswer(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{ResponseHeaderTimeout: time.Second})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	body := &slowBody{pieces: make(chan string)}
	go func() {
		for range 4 {
			time.Sleep(400 * time.Millisecond)
			body.pieces <- "slow"
		}
		close(body.pieces)
	}()
	if r := f.do(t, f.request(t, "POST", "/", body)); r.body != "slowslowslowslow" || r.err != nil {
		t.Errorf("got %d %q, %v", r.StatusCode, r.body, r.err)
	}
}

// TestHandlerDoesNotReadTheBodyAfterwards answers in full while the client never ends its body.
func TestHandlerDoesNotReadTheBodyAfterwards(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = io.Copy(io.Discard, r)
		}
	})
	c, r := f.raw(t, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
		t.Errorf("%q, %v", body, err)
	}
	eventually(t, "the request is over", func() bool { return f.instance(t, "a").InFlight == 0 })
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on after half a body: %v", err)
	}
	_ = c.Close()
}
