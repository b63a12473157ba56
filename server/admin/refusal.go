package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// refusal is an error of the API itself, before or beside the backend.
type refusal struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Error implements error.
func (r *refusal) Error() string { return r.Message }

// HTTPStatus implements Coded.
func (r *refusal) HTTPStatus() int { return r.status }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func crashed() *refusal {
	r := refuse(http.StatusInternalServerError, "internal", "covetd failed on this request; it runs on")
	r.Hint = "covetd's log has the details"
	return r
}

// tell finds the error that is told to the caller: the Coded one in err's chain, or covetd's own fault with its words.
// What it returns is sure to marshal.
func tell(err error) Coded {
	var coded Coded
	if errors.As(err, &coded) {
		if _, bad := json.Marshal(coded); bad == nil {
			return coded
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return refuse(http.StatusServiceUnavailable, "unreachable", "covetd gave up on the request: %v", err)
	}
	return refuse(http.StatusInternalServerError, "internal", "%v", err)
}
