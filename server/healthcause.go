package server

import (
	"errors"
	"fmt"
	"maps"
)

// forStrangers leaves out what anybody who can reach the port need not know: errors name servers, users and databases. The
// log has them.
func (r HealthReport) forStrangers() HealthReport {
	r.Checks = maps.Clone(r.Checks)
	for name, c := range r.Checks {
		if c.cause != "" {
			c.Error = c.cause
			r.Checks[name] = c
		}
	}
	return r
}

// cause is what an error says at its root: "connection refused", where the whole says by whom. PostgreSQL's own answers name
// users and databases, so that only their code is told.
func cause(err error) string {
	var answer interface{ SQLState() string }
	if errors.As(err, &answer) {
		return "SQLSTATE " + answer.SQLState()
	}
	for {
		next := errors.Unwrap(err)
		var many interface{ Unwrap() []error }
		if next == nil && errors.As(err, &many) && len(many.Unwrap()) > 0 {
			next = many.Unwrap()[0]
		}
		if next == nil {
			return fmt.Sprintf("%.100s", err)
		}
		err = next
	}
}
