package rollout

import (
	"fmt"
	"maps"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
)

// blindPatience is how long a step that is otherwise done waits for the candidate's requests to be known again. A source of
// metrics that fails is no reason to go back, and none to go on: then a person decides.
const blindPatience = 30 * time.Second

// patience is how long a return to the stable release waits for all of its instances before it makes do with one.
const patience = 5 * time.Second

// Next is the whole state machine: from what the journal says and what is really there, the events to journal now. No
// events means that nothing is to be decided; what is wanted meanwhile is Wanted's answer. It is pure.
func Next(s State, seen Snapshot, now time.Time) []journal.Event {
	r := s.Active
	if s.Stopped != nil {
		return nil // it stands still, whatever was under way
	}
	if r == nil {
		return retireWarm(s, now)
	}
	switch r.Phase {
	case Aborting:
		return nextAborting(s, r, seen, now)
	case Settling:
		return nextSettling(s, r, seen, now)
	}
	if events := Judge(s, seen, now); len(events) > 0 {
		return events
	}
	if r.Paused {
		return nil
	}
	switch r.Phase {
	case Scaling:
		return nextScaling(r, seen, now)
	case Shifting:
		return nextShifting(s, r, seen, now)
	case Baking:
		return nextBaking(r, seen, now)
	case Waiting:
		if r.Approved {
			return advance(r, now)
		}
	}
	return nil
}

func retireWarm(s State, now time.Time) []journal.Event {
	if s.Warm == nil || now.Before(s.Warm.Until) {
		return nil
	}
	return []journal.Event{event(now, ByCovetd, WarmRetired, s.Warm.Version, nil)}
}

// nextSettling begins the first step once nothing of the rollout before is left. What does not come to rest within the deadline
// ends the rollout before anything of it has begun.
func nextSettling(s State, r *Rollout, seen Snapshot, now time.Time) []journal.Event {
	if r.Paused {
		return nil
	}
	if !seen.Unsettled {
		return []journal.Event{event(now, ByCovetd, RolloutStep, r.ID, StepData{Step: 0})}
	}
	why, hopeless := startTrouble(r, r.From, s.Releases[r.From], seen, now)
	if !hopeless && now.Sub(r.PhaseAt) < r.limit() {
		return nil
	}
	if why == "" {
		why = fmt.Sprintf("what the rollout before has left was not put in order within %s", journal.Duration(r.limit()))
	}
	return []journal.Event{event(now, ByCovetd, RolloutAborting, r.ID, AbortData{Message: why + "; nothing was begun", Automatic: true})}
}

func nextScaling(r *Rollout, seen Snapshot, now time.Time) []journal.Event {
	step := r.Current()
	ready, _ := seen.Count(r.To)
	enough := ready >= step.Candidate
	if r.Purpose == Rollback && ready > 0 && now.Sub(r.PhaseAt) >= patience {
		enough = true // going back is urgent: what is ready takes over, the rest follows
	}
	if !enough {
		return nil
	}
	return []journal.Event{event(now, ByCovetd, RolloutReady, r.ID, StepData{Step: r.Step, Weight: step.Weight})}
}

func nextShifting(s State, r *Rollout, seen Snapshot, now time.Time) []journal.Event {
	if !maps.Equal(seen.Weights, Wanted(s).Weights) {
		return nil
	}
	return []journal.Event{event(now, ByCovetd, RolloutShifted, r.ID, StepData{Step: r.Step, Weight: r.Weight})}
}

func nextBaking(r *Rollout, seen Snapshot, now time.Time) []journal.Event {
	step := r.Current()
	if r.Approved {
		return advance(r, now)
	}
	ready, _ := seen.Count(r.To)
	if now.Sub(r.PhaseAt) < step.Bake.Std() || ready < step.Candidate || !drained(r, step, seen) {
		return nil
	}
	blind := blindness(r, seen)
	switch {
	case blind != "" && now.Sub(r.PhaseAt) < step.Bake.Std()+blindPatience:
		return nil
	case blind != "":
		return []journal.Event{event(now, ByCovetd, RolloutWaiting, r.ID, Note{
			Message: fmt.Sprintf("%s cannot be judged by its requests: %s. Promote to go on without, or abort", r.To, blind)})}
	case step.Approve:
		return []journal.Event{event(now, ByCovetd, RolloutWaiting, r.ID, Note{Message: waitingFor(r)})}
	}
	return advance(r, now)
}

// blindness is why the candidate, which has traffic, cannot be judged by its requests, or nothing.
func blindness(r *Rollout, seen Snapshot) string {
	if r.Weight == 0 || seen.Health.About != health.Subject(r.To, r.JudgedAt) {
		return ""
	}
	return seen.Health.Blind
}

// drained reports whether the surge is over: a rolling step ends only once the instance it replaced is gone.
func drained(r *Rollout, step Step, seen Snapshot) bool {
	if r.Strategy != Rolling || r.From == "" {
		return true
	}
	old := 0
	for _, i := range seen.Instances {
		if i.Release == r.From {
			old++
		}
	}
	return old <= step.Stable
}

func waitingFor(r *Rollout) string {
	if r.Last() {
		return fmt.Sprintf("%s has all the traffic; promote to make it the stable release", r.To)
	}
	return fmt.Sprintf("step %d of %d is done; promote to move %d%% of the traffic to %s",
		r.Step+1, len(r.Steps), r.Steps[r.Step+1].Weight, r.To)
}

// advance goes on from where the rollout stands: to the next step, to the end, or, where the candidate had been
// contained, into the same step again.
func advance(r *Rollout, now time.Time) []journal.Event {
	if r.Contained {
		return []journal.Event{event(now, ByCovetd, RolloutStep, r.ID, StepData{Step: r.Step})}
	}
	if r.Last() {
		return []journal.Event{event(now, ByCovetd, RolloutEnded, r.ID, EndData{
			Phase: Succeeded, Message: fmt.Sprintf("%s is the stable release", r.To)})}
	}
	return []journal.Event{event(now, ByCovetd, RolloutStep, r.ID, StepData{Step: r.Step + 1})}
}

func nextAborting(s State, r *Rollout, seen Snapshot, now time.Time) []journal.Event {
	if r.From == "" {
		return []journal.Event{event(now, ByCovetd, RolloutEnded, r.ID, EndData{
			Phase: Failed, Message: r.Message + "; nothing served before it, so nothing serves now"})}
	}
	ready, _ := seen.Count(r.From)
	if ready == 0 {
		return stuck(s, r, seen, now)
	}
	if r.Weight > 0 {
		if ready < s.Instances && now.Sub(r.PhaseAt) < patience {
			return nil
		}
		return []journal.Event{event(now, ByCovetd, RolloutReturned, r.ID, nil)}
	}
	if !maps.Equal(seen.Weights, Wanted(s).Weights) {
		return nil
	}
	events := []journal.Event{event(now, ByCovetd, RolloutEnded, r.ID, EndData{Phase: RolledBack})}
	if r.Then != nil {
		events = append(events, event(now, r.By, RolloutStarted, r.Then.ID, *r.Then))
	}
	return events
}

// stuck ends a return that cannot succeed because the release it returns to does not come up. The candidate stays: it may
// be all that serves.
func stuck(s State, r *Rollout, seen Snapshot, now time.Time) []journal.Event {
	why, hopeless := startTrouble(r, r.From, s.Releases[r.From], seen, now)
	if !hopeless {
		return nil
	}
	message := fmt.Sprintf("%s; going back to %s failed too: %s", r.Message, r.From, why)
	return []journal.Event{
		event(now, ByCovetd, ReleaseQuarantined, r.From, Note{Message: why}),
		event(now, ByCovetd, RolloutEnded, r.ID, EndData{Phase: Failed, Message: message, KeepCandidate: true}),
	}
}
