package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// problem is the body of the runtime's own error responses; the balancer's have the same form.
type problem struct {
	Error     string `json:"error"`   // for programs
	Message   string `json:"message"` // for people
	Status    int    `json:"status"`
	RequestID string `json:"request_id,omitempty"`
}

// writeProblem answers with an error as JSON. Headers must not have been sent.
func writeProblem(w http.ResponseWriter, r *http.Request, status int, text string) {
	body := problem{Error: problemCode(status), Message: text, Status: status, RequestID: RequestID(r.Context())}
	writeOwnJSON(w, status, body)
}

// problemCode is a status in one word, such as "not_found".
func problemCode(status int) string {
	if status == http.StatusRequestEntityTooLarge {
		return "body_too_large" // what the balancer calls it when it notices first
	}
	return strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
}

// writeOwnJSON writes a page of the runtime's. The client may be gone by then, which is nobody's fault.
func writeOwnJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"internal_server_error","message":"encoding failed","status":500}`)
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
