package rollout

import (
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Stop says that a service is scaled to nothing until a person starts it again: while its database is being restored, above
// all. It outlives every process: whoever takes over stops everything too.
type Stop struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
	// Restore is the database restore that it was stopped for. Only that restore, or a person who names it, may start it.
	Restore string `json:"restore,omitempty"`
}

// foldStop applies the events by which a service stops and starts. Time spent stopped counts for no rollout's watch.
func foldStop(s State, e journal.Event) (State, error) {
	if e.Kind == ServiceStopped {
		var stop Stop
		if err := e.Decode(&stop); err != nil {
			return s, err
		}
		stop.By, stop.At = e.By, e.At
		s.Stopped = &stop
		return s, nil
	}
	if s.Stopped != nil && s.Active != nil {
		r := *s.Active
		r.PhaseAt = r.PhaseAt.Add(e.At.Sub(s.Stopped.At))
		r.JudgedAt = e.At
		s.Active = &r
	}
	s.Stopped, s.ServesSince = nil, e.At
	return s, nil
}
