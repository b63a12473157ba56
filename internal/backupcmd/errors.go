package backupcmd

import (
	"context"
	"errors"
	"net"
)

// Exit codes, as covetctl documents them.
const (
	exitUsage       = 2
	exitFailed      = 5 // nothing was changed
	exitStale       = 3 // the plan is out of date
	exitUnreachable = 6
	exitLocked      = 7 // another is at it
	exitHalfDone    = 8 // something was changed and not put back
)

// ExitError is an error that decides the exit code of the process.
type ExitError interface {
	error
	ExitCode() int
}

// exitError implements ExitError.
type exitError struct {
	error
	code int
}

func (e *exitError) ExitCode() int { return e.code }
func (e *exitError) Unwrap() error { return e.error }

func usage(err error) error { return &exitError{err, exitUsage} }

// failed classifies an error that left things as they were.
func failed(err error) error { return withCode(err, exitFailed) }

// halfDone classifies an error that left something behind.
func halfDone(err error) error { return withCode(err, exitHalfDone) }

func withCode(err error, code int) error {
	var known *exitError // not just an ExitError: a failed program's error is one too
	if err == nil || errors.As(err, &known) {
		return err
	}
	if code == exitFailed && unreachable(err) {
		code = exitUnreachable
	}
	return &exitError{err, code}
}

// unreachable says whether a server could not be reached, or didn't answer.
func unreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) || errors.As(err, &dns) || errors.Is(err, context.DeadlineExceeded)
}
