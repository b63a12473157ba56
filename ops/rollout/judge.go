package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
)

// Limits of what a candidate may do to itself before it is given up.
const (
	maxStartFailures = 2               // ends before it was ever ready, of one instance in a row
	maxRestarts      = 3               // deaths after it had been ready, of all its instances together
	maxGone          = 5 * time.Second // no instance ready although it has traffic
)

// Judge decides whether the active rollout may go on at all: a candidate that does not start, keeps dying or fails the
// decision matrix loses its traffic. It holds while paused as well. No events means that it may.
func Judge(s State, seen Snapshot, now time.Time) []journal.Event {
	r := s.Active
	if why, hopeless := startTrouble(r, r.To, s.Releases[r.To], seen, now); hopeless {
		return giveUp(s, r, now, why, false)
	}
	if r.Contained {
		return nil // it has no traffic, so nothing more can be learnt from it
	}
	if why := crashes(r, seen); why != "" {
		return giveUp(s, r, now, why, true)
	}
	return judgeHealth(s, r, seen.Health, now)
}

func judgeHealth(s State, r *Rollout, a health.Assessment, now time.Time) []journal.Event {
	if r.Weight == 0 || a.About != health.Subject(r.To, r.JudgedAt) {
		return nil
	}
	why := a.Decision.Candidate.Reason
	switch {
	case a.Decision.Infrastructure && a.Candidate.Rank() >= health.P1.Rank():
		if r.Paused {
			return nil
		}
		return []journal.Event{event(now, ByCovetd, RolloutPaused, r.ID, Note{
			Message: fmt.Sprintf("%s fails, but %s does as well: this looks like the infrastructure, not the release (%s)", r.To, r.From, why)})}
	case a.Candidate == health.P0:
		return giveUp(s, r, now, fmt.Sprintf("P0: %s: %s", r.To, why), true)
	case a.Candidate == health.P1 && r.From != "":
		return []journal.Event{event(now, ByCovetd, RolloutContained, r.ID, Note{
			Message: fmt.Sprintf("P1: %s: %s. It has no traffic now; abort, or promote to try again", r.To, why)})}
	}
	return nil
}

// giveUp undoes the rollout. A rollback is not undone: going back to what was being left would only add harm.
func giveUp(s State, r *Rollout, now time.Time, why string, contain bool) []journal.Event {
	if r.Purpose == Rollback {
		return []journal.Event{
			event(now, ByCovetd, ReleaseQuarantined, r.To, Note{Message: why}),
			event(now, ByCovetd, RolloutEnded, r.ID, EndData{Phase: Failed, KeepCandidate: r.Weight > 0,
				Message: fmt.Sprintf("%s; %s stays in charge: choose another release (covetctl rollback --to VERSION)", why, orNothing(s.Stable))}),
		}
	}
	return []journal.Event{event(now, ByCovetd, RolloutAborting, r.ID, AbortData{Message: why, Automatic: true, Contain: contain})}
}

func orNothing(version string) string {
	if version == "" {
		return "nothing"
	}
	return version
}

// startTrouble reports whether the release's instances fail to start for good, and why in the instance's own words.
func startTrouble(r *Rollout, version string, release Release, seen Snapshot, now time.Time) (string, bool) {
	waited := now.Sub(r.PhaseAt)
	var slow *Instance
	for i := range seen.Instances {
		in := &seen.Instances[i]
		if in.Release != version || in.State == Ready || in.State == Draining || in.State == Stopping {
			continue
		}
		timedOut := in.StartFailures > 0 && waited >= release.Manifest.ReadyTimeout.Std()
		if in.StartFailures >= maxStartFailures || timedOut {
			return fmt.Sprintf("%s does not start: %s", version, inWords(in)), true
		}
		slow = in
	}
	if r.Paused || slow == nil || r.Phase == Waiting {
		return "", false
	}
	if r.Phase != Scaling && r.Phase != Aborting && r.Phase != Settling {
		waited = min(waited, now.Sub(slow.Since)) // it was ready once: what counts is how long it has not been
	}
	if waited < r.limit() {
		return "", false
	}
	return fmt.Sprintf("%s was not ready within %s: %s", version, journal.Duration(r.limit()), inWords(slow)), true
}

// limit is how long a step may take to have its instances ready.
func (r *Rollout) limit() time.Duration {
	if d := r.Tuning.Deadline.Std(); d > 0 {
		return d
	}
	return DefaultDeadline.Std()
}

// inWords is the instance's reason with the last thing it logged.
func inWords(i *Instance) string {
	why := i.Reason
	if why == "" {
		why = "it is " + string(i.State)
	}
	if line := telling(i.LastLog); line != "" {
		why += "; last log: " + line
	}
	return why
}

// telling is the line that says most about an end: the last one, except that Go and Java write a trace below their reason.
func telling(lines []string) string {
	for _, line := range slices.Backward(lines) {
		for _, prefix := range []string{"panic: ", "fatal error: ", "Exception in thread "} {
			if strings.HasPrefix(line, prefix) {
				return strings.TrimSpace(line)
			}
		}
	}
	for _, line := range slices.Backward(lines) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// crashes says why a candidate that had been ready is given up, or nothing.
func crashes(r *Rollout, seen Snapshot) string {
	restarts, ready, coming := 0, 0, false
	var last *Instance
	for i := range seen.Instances {
		in := &seen.Instances[i]
		if in.Release != r.To {
			continue
		}
		restarts += in.Restarts - in.StartFailures
		if in.State == Ready {
			ready++
			continue
		}
		if in.State == Starting && in.Restarts == 0 {
			coming = true // covetd itself was started again: its instances are on their way
		}
		if last == nil || in.Since.Before(last.Since) {
			last = in
		}
	}
	switch {
	case restarts >= maxRestarts && last != nil:
		return fmt.Sprintf("%s keeps dying (%d restarts): %s", r.To, restarts, inWords(last))
	case restarts >= maxRestarts:
		return fmt.Sprintf("%s keeps dying (%d restarts)", r.To, restarts)
	case ready == 0 && !coming && r.Weight > 0 && last != nil && seen.At.Sub(last.Since) >= maxGone:
		return fmt.Sprintf("no instance of %s is ready any more: %s", r.To, inWords(last))
	}
	return ""
}
