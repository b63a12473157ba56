package console

import (
	"fmt"
	"net/http"
)

// Code classifies an error for the program that has to act on it. Its Exit is covetctl's exit status.
type Code string

// The codes.
const (
	CodeUsage         Code = "usage"           // the request makes no sense; nothing was done
	CodeNotFound      Code = "not_found"       // what it names is not there
	CodeDenied        Code = "denied"          // the caller may not
	CodeRefused       Code = "refused"         // it cannot be done as things stand
	CodeStalePlan     Code = "plan_stale"      // the world has changed since the plan was made
	CodeWaiting       Code = "waiting"         // a person must approve first
	CodeRolledBack    Code = "rolled_back"     // it failed, and the old release serves as before
	CodeUnreachable   Code = "unreachable"     // covetd does not answer
	CodeLocked        Code = "locked"          // another holds it
	CodeNotRolledBack Code = "not_rolled_back" // it failed, and the old release does not serve either
	CodeInternal      Code = "internal"        // covetd's own fault
)

// Exit is the exit status that stands for the code.
func (c Code) Exit() int {
	switch c {
	case CodeUsage:
		return 2
	case CodeStalePlan:
		return 3
	case CodeWaiting:
		return 4
	case CodeRolledBack:
		return 5
	case CodeUnreachable:
		return 6
	case CodeLocked:
		return 7
	case CodeNotRolledBack:
		return 8
	}
	return 1
}

// Error is what went wrong, in words for a person, and what to do about it.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the way out
}

// Error implements error.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n  → " + e.Hint
}

// ExitCode is the exit status that stands for the error.
func (e *Error) ExitCode() int { return e.Code.Exit() }

func fail(code Code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// HTTPStatus is the status the error is told with over the operations API.
func (e *Error) HTTPStatus() int {
	switch e.Code {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeDenied:
		return http.StatusForbidden
	case CodeLocked, CodeRefused:
		return http.StatusConflict
	case CodeStalePlan:
		return http.StatusPreconditionFailed
	case CodeUnreachable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
