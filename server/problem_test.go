package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProblemsHaveACodeAndAMessage(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		http.StatusNotFound:              `{"error":"not_found","message":"why","status":404}`,
		http.StatusRequestEntityTooLarge: `{"error":"body_too_large","message":"why","status":413}`,
		http.StatusTooManyRequests:       `{"error":"too_many_requests","message":"why","status":429}`,
	} {
		w := httptest.NewRecorder()
		writeProblem(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), status, "why")
		if got := w.Body.String(); got != want+"\n" || w.Code != status {
			t.Errorf("%d: %q, want %q", w.Code, got, want)
		}
	}
}
