package s3test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what the Proxy does to one request.
type Fault int

// The faults.
const (
	Pass     Fault = iota // forward it
	Fail500               // answer 500 without asking the server
	Fail503               // answer 503 SlowDown without asking the server
	Reset                 // reset the connection without asking the server
	Lose                  // let the server act, then reset the connection instead of answering
	Truncate              // pass on half of the answer's body, then reset
	Slow                  // wait 300 ms, then forward
	Expired               // answer 403 ExpiredToken without asking the server
	WantsMD5              // answer as AWS does to an upload without a checksum into a bucket with object lock
)

// Proxy stands between a client and the S3 server and makes requests fail.
type Proxy struct {
	Endpoint string
	faults   atomic.Int64
}

// Faults is how many requests were harmed so far.
func (p *Proxy) Faults() int64 { return p.faults.Load() }

// StartProxy runs a proxy before the server until the test ends. decide is called for every request, with its number
// from 0, from several goroutines at once.
func StartProxy(tb testing.TB, s *Server, decide func(n int64, r *http.Request) Fault) *Proxy {
	tb.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { cut(w) },
	}
	p := &Proxy{}
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := decide(n.Add(1)-1, r)
		if f != Pass {
			p.faults.Add(1)
		}
		p.harm(f, w, r, forward)
	}))
	tb.Cleanup(srv.Close)
	p.Endpoint = srv.URL
	return p
}

func (p *Proxy) harm(f Fault, w http.ResponseWriter, r *http.Request, forward http.Handler) {
	switch f {
	case Fail500:
		http.Error(w, "<Error><Code>InternalError</Code></Error>", http.StatusInternalServerError)
	case Fail503:
		http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
	case Expired:
		w.Header().Set("Content-Type", "application/xml")
		http.Error(w, "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>", http.StatusForbidden)
	case WantsMD5:
		w.Header().Set("Content-Type", "application/xml")
		http.Error(w, "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters</Message></Error>", http.StatusBadRequest)
	case Reset:
		cut(w)
	case Lose:
		forward.ServeHTTP(httptest.NewRecorder(), r)
		cut(w)
	case Truncate:
		rec := httptest.NewRecorder()
		forward.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		_, _ = w.Write(body[:len(body)/2]) // the client may be gone: that is its loss
		if fl, ok := w.(http.Flusher); ok {
			fl.Flush()
		}
		cut(w)
	case Slow:
		time.Sleep(300 * time.Millisecond)
		forward.ServeHTTP(w, r)
	default:
		forward.ServeHTTP(w, r)
	}
}

// cut resets the client's connection.
func cut(w http.ResponseWriter) {
	hj, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	conn, _, err := hj.Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
