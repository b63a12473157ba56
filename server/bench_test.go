package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
)

// productHandler is the application in both benchmarks: a small JSON answer that names a route parameter.
func productHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"`+chi.URLParam(r, "id")+`","name":"tea"}`)
}

// blankWriter is a ResponseWriter that costs nothing but its header map.
type blankWriter struct{ header http.Header }

func (w *blankWriter) Header() http.Header               { return w.header }
func (w *blankWriter) Write(p []byte) (int, error)       { return len(p), nil }
func (w *blankWriter) WriteString(s string) (int, error) { return len(s), nil }
func (w *blankWriter) WriteHeader(int)                   {}

func benchmarkHandler(b *testing.B, h http.Handler) {
	req := httptest.NewRequest(http.MethodGet, "/api/products/42", nil)
	w := &blankWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		delete(req.Header, headerRequestID)
		h.ServeHTTP(w, req)
	}
}

func BenchmarkStackChi(b *testing.B) {
	r := chi.NewRouter()
	r.Get("/api/products/{id}", productHandler)
	benchmarkHandler(b, r)
}

func BenchmarkStackFull(b *testing.B) {
	s, err := New(Config{}, WithLogOutput(io.Discard))
	if err != nil {
		b.Fatal(err)
	}
	s.Router().Get("/api/products/{id}", productHandler)
	benchmarkHandler(b, s)
}

// overLoopback measures a request over a real connection, where the stack's share is what a client sees.
func overLoopback(b *testing.B, h http.Handler) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	client := srv.Client()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Get(srv.URL + "/api/products/42")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkServedChi(b *testing.B) {
	r := chi.NewRouter()
	r.Get("/api/products/{id}", productHandler)
	overLoopback(b, r)
}

func BenchmarkServedFull(b *testing.B) {
	s, err := New(Config{}, WithLogOutput(io.Discard))
	if err != nil {
		b.Fatal(err)
	}
	s.Router().Get("/api/products/{id}", productHandler)
	overLoopback(b, s)
}
