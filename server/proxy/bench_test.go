package proxy

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// The three handlers answer the same request to the same client over loopback, so that their differences are the cost of
// passing it on: bare by answering it, ours and ReverseProxy's by asking a worker in the same process. CPU time is what
// counts; time per operation on one connection is mostly waiting.

func BenchmarkBareHandler(b *testing.B) { benchmarkHandler(b, http.HandlerFunc(benchWorker)) }

func BenchmarkBalancer(b *testing.B) {
	worker := httptest.NewServer(http.HandlerFunc(benchWorker))
	defer worker.Close()
	lb := New(Options{Logger: slog.New(slog.DiscardHandler)})
	lb.Join(Target{ID: "a", Release: "v1", Addr: worker.Listener.Addr().String()})
	benchmarkHandler(b, lb)
}

func BenchmarkReverseProxy(b *testing.B) {
	worker := httptest.NewServer(http.HandlerFunc(benchWorker))
	defer worker.Close()
	to, err := url.Parse(worker.URL)
	if err != nil {
		b.Fatal(err)
	}
	rp := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true},
	}
	benchmarkHandler(b, rp)
}

func benchWorker(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(benchBody)
}

var benchBody = make([]byte, 1024)

func benchmarkHandler(b *testing.B, h http.Handler) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		tr := &http.Transport{MaxIdleConnsPerHost: 1}
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr}
		for pb.Next() {
			resp, err := client.Get(srv.URL)
			if err != nil {
				b.Error(err)
				return
			}
			if n, err := io.Copy(io.Discard, resp.Body); n != int64(len(benchBody)) || err != nil {
				b.Errorf("read %d bytes: %v", n, err)
			}
			_ = resp.Body.Close()
		}
	})
}

func BenchmarkPick(b *testing.B) {
	weights := map[string]int{"v1": 90, "v2": 10}
	t := newTable(append(instances("v1", 4), instances("v2", 4)...), weights, "v2")
	var turn uint64
	for b.Loop() {
		turn++
		in := t.pick(turn, false, false, nil).in
		in.acquire()
		in.release()
	}
}
