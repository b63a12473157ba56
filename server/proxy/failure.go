package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// failureKind is what an instance failed at.
type failureKind int

const (
	connectFailed failureKind = iota
	closedEarly
	malformed
	timedOut
	truncated
	cutOff
	failureKinds

	notInstance // the client's or the balancer's own
)

// statusClientGone is what an exchange ends with when nobody is left to answer: the code that nginx gave a name to.
const statusClientGone = 499

// failure is why there is no answer of an instance to pass on.
type failure struct {
	kind   failureKind
	status int    // what the client is told
	code   string // the same for programs
	text   string // and for people
	cause  error

	again     bool // the request may be made again, elsewhere
	abort     bool // the answer has begun: it can only be broken off
	cancelled bool // the client gave up
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.text
	}
	return fmt.Sprintf("%s: %v", f.text, f.cause)
}

func connectFailure(err error) *failure {
	return &failure{kind: connectFailed, status: http.StatusBadGateway, code: "instance_unreachable",
		text: "no connection to the instance could be made", cause: err, again: true}
}

func unavailable(t *table) *failure {
	if len(t.routes) > 0 {
		return &failure{kind: notInstance, status: http.StatusBadGateway, code: "instances_unreachable",
			text: "no ready instance accepts connections"}
	}
	return &failure{kind: notInstance, status: http.StatusServiceUnavailable, code: "no_ready_instance",
		text: "no instance is ready; try again in a moment"}
}

func badRequest(text string) *failure {
	return &failure{kind: notInstance, status: http.StatusBadRequest, code: "bad_request", text: text}
}

func malformedAnswer(err error) *failure {
	return &failure{kind: malformed, status: http.StatusBadGateway, code: "bad_answer",
		text: "the instance's answer is not valid HTTP", cause: err}
}

// abandoned is the failure of a request whose context has ended: the client went, or somebody's deadline passed.
func abandoned(ctx context.Context) *failure {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &failure{kind: notInstance, status: http.StatusGatewayTimeout, code: "deadline",
			text: "the request's deadline passed before it was answered"}
	}
	return &failure{kind: notInstance, status: statusClientGone, code: "client_gone",
		text: "the client closed the connection", cancelled: true}
}

// bodyFailure is for a request body that could not be read from the client.
func bodyFailure(ctx context.Context, err error) *failure {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &failure{kind: notInstance, status: http.StatusRequestEntityTooLarge, code: "body_too_large", cancelled: true,
			text: fmt.Sprintf("the request body is larger than the limit of %d bytes", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{kind: notInstance, status: http.StatusRequestTimeout, code: "body_timeout", cancelled: true,
			text: "the request body did not arrive in time"}
	case ctx.Err() != nil:
		return abandoned(ctx)
	}
	return &failure{kind: notInstance, status: http.StatusBadRequest, code: "bad_body", cause: err, cancelled: true,
		text: "the request body ended early or is malformed"}
}

// noAnswer classifies an error between sending a request and having its answer's head.
func noAnswer(err error) *failure {
	var bad *headError
	switch {
	case errors.As(err, &bad):
		return malformedAnswer(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{kind: timedOut, status: http.StatusGatewayTimeout, code: "answer_timeout",
			text: "the instance did not answer in time", cause: err}
	case errors.Is(err, io.EOF):
		err = nil // "EOF" tells a reader nothing that the text does not
	}
	return &failure{kind: closedEarly, status: http.StatusBadGateway, code: "no_answer",
		text: "the instance closed the connection before it answered", cause: err}
}

// answer tells the client, in JSON of the same form as the runtime's own errors.
func (f *failure) answer(w http.ResponseWriter) {
	h := w.Header()
	body, err := json.Marshal(struct {
		Error     string `json:"error"`
		Message   string `json:"message"`
		Status    int    `json:"status"`
		RequestID string `json:"request_id,omitempty"`
	}{f.code, f.text, f.status, h.Get("X-Request-Id")})
	if err != nil { // strings and a number always have a JSON form
		panic(err)
	}
	body = append(body, '\n')
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if f.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(f.status)
	// An error here means that the client is gone as well; there is nobody left to tell.
	_, _ = w.Write(body)
}

// warner logs at most ten warnings a second: when every request fails, the thousandth line says nothing new.
type warner struct {
	to      *slog.Logger
	second  atomic.Int64
	written atomic.Int64
}

func (l *warner) failed(in *instance, f *failure) {
	now := time.Now().Unix()
	if l.second.Swap(now) != now {
		l.written.Store(0)
	}
	if l.written.Add(1) > 10 {
		return
	}
	l.to.Warn("request failed at instance", "instance", in.ID, "release", in.Release, "code", f.code, "error", f.Error())
}
