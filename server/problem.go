package server

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is the body of the runtime's own error responses.
type problem struct {
	Error     string `json:"error"`
	Status    int    `json:"status"`
	RequestID string `json:"request_id,omitempty"`
}

// writeProblem answers with an error as JSON. Headers must not have been sent.
func writeProblem(w http.ResponseWriter, r *http.Request, status int, text string) {
	body := problem{Error: text, Status: status, RequestID: RequestID(r.Context())}
	writeOwnJSON(w, status, body)
}

// writeOwnJSON writes a page of the runtime's. The client may be gone by then, which is nobody's fault.
func writeOwnJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"encoding failed"}`)
	}
	text = append(text, '\n')
	h := w.Header()
	h["Content-Type"] = contentJSON
	h["Cache-Control"] = noStore
	h["Content-Security-Policy"] = ownPolicy
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, http.StatusNotFound, "not found")
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, http.StatusMethodNotAllowed, "method not allowed")
}
