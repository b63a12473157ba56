package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/config"
	"github.com/go-chi/chi/v5"
)

// productHandler is the application in both benchmarks: a small JSON answer that names a route parameter.
func productHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"`+chi.URLParam(r, "id")+`","name":"tea"}`)
}

// blankWriter is a ResponseWriter that costs nothing but its header map.
type blankWriter struct {
	header http.Header
	status int
}

func (w *blankWriter) Header() http.Header               { return w.header }
func (w *blankWriter) Write(p []byte) (int, error)       { return len(p), nil }
func (w *blankWriter) WriteString(s string) (int, error) { return len(s), nil }
func (w *blankWriter) WriteHeader(status int)            { w.status = status }

// signedIn is the Authorization header that all requests carry, with or without the stack.
func signedIn(b *testing.B) string {
	b.Helper()
	tokens, err := auth.NewTokens(auth.Config{Key: []byte(jwtKey), Algorithm: "HS256", Issuer: "app", Audience: "app",
		AccessTTL: time.Hour, RefreshTTL: time.Hour}, auth.NewMemory())
	if err != nil {
		b.Fatal(err)
	}
	pair, err := tokens.Issue(b.Context(), auth.User{Name: "alice", Roles: []string{"engineer"}})
	if err != nil {
		b.Fatal(err)
	}
	return "Bearer " + pair.AccessToken
}

// fullStack is everything that can be in a request's way: limits by address and user, tokens, CORS, a role.
func fullStack(b *testing.B) http.Handler {
	b.Helper()
	s, err := New(config.Config{GzipEnabled: true, Security: config.SecurityConfig{
		RateLimitEnabled: true, RateLimitPerMinute: 1_000_000_000, RateLimitPerHour: 1_000_000_000,
		JWTSecretKey: config.Secret(jwtKey), CORSOrigins: []string{"https://shop.example"},
	}}, WithLogOutput(io.Discard))
	if err != nil {
		b.Fatal(err)
	}
	s.Router().Method(http.MethodGet, "/api/products/{id}", RequireRole("engineer")(http.HandlerFunc(productHandler)))
	return s
}

func benchmarkHandler(b *testing.B, h http.Handler) {
	req := httptest.NewRequest(http.MethodGet, "/api/products/42", nil)
	req.Header.Set("Authorization", signedIn(b))
	w := &blankWriter{header: http.Header{}}
	h.ServeHTTP(w, req)
	if kind := w.header.Get("Content-Type"); kind != "application/json" || w.status > 299 {
		b.Fatalf("answered %d, %s", w.status, kind)
	}
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
	benchmarkHandler(b, fullStack(b))
}

// overLoopback measures a request over a real connection, where the stack's share is what a client sees.
func overLoopback(b *testing.B, h http.Handler) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	client, token := srv.Client(), signedIn(b)
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequest(http.MethodGet, srv.URL+"/api/products/42", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", token)
		resp, err := client.Do(req)
		if err == nil && resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
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
	overLoopback(b, fullStack(b))
}
