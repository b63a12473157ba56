package workers

import (
	"fmt"
	"time"
)

// State is where an instance is in its life.
type State string

// The states of an instance. Only a ready one gets requests.
const (
	StateStarting State = "starting" // the process runs but has not been ready yet
	StateReady    State = "ready"    // it answers its probe and gets requests
	StateUnready  State = "unready"  // it was ready, its probes fail; it is taken back as soon as they succeed
	StateDraining State = "draining" // it gets no new requests, the ones in flight are waited for
	StateStopping State = "stopping" // it was told to exit
	StateBackoff  State = "backoff"  // no process: waiting for the next start
	StateFailed   State = "failed"   // as backoff, but the last three starts or more never became ready
)

// failedAfter is how many start failures in a row turn backoff into failed.
const failedAfter = 3

// Instance is what is known about one instance at one moment.
type Instance struct {
	ID      string
	Release string
	State   State
	Since   time.Time // of the state

	PID       int // 0 while there is no process
	Port      int // 0 while there is no process; a restart takes another one
	StartedAt time.Time
	RSS       uint64  // bytes, of all processes of the instance; pages that they share are counted for each
	CPU       float64 // seconds of processor time used since StartedAt, by all its processes

	Restarts      int      // starts after the first one
	StartFailures int      // starts in a row that did not become ready; 0 as soon as one does
	LastExit      *Exit    // why the last process ended or could not be started; nil if none did
	LastLog       []string // the last few lines of output, over restarts, oldest first
	ProbeError    string   // why the last probe failed; empty after a success
}

// Exit is the end of a process, or the reason why there was none.
type Exit struct {
	At          time.Time
	PID         int      // 0 if it could not be started
	Code        int      // the exit status; -1 if it was killed by a signal or could not be started
	Signal      string   // such as "killed"; empty if it exited by itself
	BeforeReady bool     // it never became ready
	Reason      string   // the whole story, for a person
	LastLog     []string // the last few lines of output, oldest first
}

// String is the reason.
func (e *Exit) String() string { return e.Reason }

// change is what an observation did to an instance.
type change int

const (
	unchanged change = iota
	becameReady
	becameUnready
)

// tally folds probe results into ready or not. It is pure: the time is given.
type tally struct {
	probe    Probe
	patience time.Duration // how long an instance may be unready before it is restarted
	state    State         // starting, ready or unready
	since    time.Time
	good     int
	bad      int
	last     error
}

func newTally(p Probe, patience time.Duration, now time.Time) *tally {
	return &tally{probe: p, patience: patience, state: StateStarting, since: now}
}

// observe takes one probe's result; nil is a success.
func (t *tally) observe(err error, now time.Time) change {
	t.last = err
	if err == nil {
		t.good, t.bad = t.good+1, 0
		if t.state != StateReady && t.good >= t.probe.SuccessThreshold {
			t.state, t.since = StateReady, now
			return becameReady
		}
		return unchanged
	}
	t.good, t.bad = 0, t.bad+1
	if t.state == StateReady && t.bad >= t.probe.FailureThreshold {
		t.state, t.since = StateUnready, now
		return becameUnready
	}
	return unchanged
}

// left is how long the instance may stay as it is before it must be restarted; ok is false when there is no limit.
func (t *tally) left(now time.Time) (d time.Duration, ok bool) {
	switch t.state {
	case StateStarting:
		return t.since.Add(t.probe.StartTimeout).Sub(now), true
	case StateUnready:
		return t.since.Add(t.patience).Sub(now), true
	}
	return 0, false
}

// overdue says why an instance whose time is up must be restarted.
func (t *tally) overdue(addr string) string {
	if t.state == StateUnready {
		return fmt.Sprintf("was unready for %s: %v", t.patience, t.last)
	}
	if t.last == nil {
		return fmt.Sprintf("was not ready within %s: GET %s had no answer", t.probe.StartTimeout, t.probe.Path)
	}
	if isRefused(t.last) {
		return fmt.Sprintf("did not listen on %s within %s (it must listen on 127.0.0.1 at $PORT)", addr, t.probe.StartTimeout)
	}
	return fmt.Sprintf("was not ready within %s: GET %s %v", t.probe.StartTimeout, t.probe.Path, t.last)
}
