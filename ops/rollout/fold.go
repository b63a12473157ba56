package rollout

import (
	"maps"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// historyKept bounds the ended rollouts that State carries; the journal has them all.
const historyKept = 200

// keepAfterFailure is how long a candidate stays up when the stable release could not be brought back: it may be all that
// serves.
const keepAfterFailure = 24 * time.Hour

// Fold applies one event to the state. It is pure: the state it is given is not changed. Kinds it does not know change
// nothing but the sequence number, so that other parts can keep their events in the same journal.
func Fold(s State, e journal.Event) (State, error) {
	s.Seq = e.Seq
	incidents, err := s.Incidents.Fold(e)
	if err != nil {
		return s, err
	}
	s.Incidents = incidents
	switch e.Kind {
	case ReleaseAdded, ReleaseRemoved, ReleaseQuarantined:
		return foldRelease(s, e)
	case ServiceAdopted:
		var a Adoption
		if err := e.Decode(&a); err != nil {
			return s, err
		}
		s.Stable, s.Instances = e.Subject, a.Instances
		if a.Previous != "" {
			s.Previous = a.Previous
		}
		return s, nil
	case ServiceStopped, ServiceStarted:
		return foldStop(s, e)
	case RestoreNoted:
		return foldRestore(s, e)
	case WarmRetired:
		s.Warm = nil
		return s, nil
	case RolloutStarted:
		return foldStart(s, e)
	}
	if s.Active == nil || s.Active.ID != e.Subject {
		return s, nil
	}
	r := *s.Active
	s.Active = &r
	if e.Kind == RolloutEnded {
		return foldEnd(s, r, e)
	}
	return s, foldProgress(&r, e)
}

func foldRelease(s State, e journal.Event) (State, error) {
	s.Releases = maps.Clone(s.Releases)
	if s.Releases == nil {
		s.Releases = map[string]Release{}
	}
	switch e.Kind {
	case ReleaseAdded:
		var r Release
		if err := e.Decode(&r); err != nil {
			return s, err
		}
		s.Releases[r.Version] = r
	case ReleaseRemoved:
		delete(s.Releases, e.Subject)
	case ReleaseQuarantined:
		var n Note
		if err := e.Decode(&n); err != nil {
			return s, err
		}
		s.Quarantined = maps.Clone(s.Quarantined)
		if s.Quarantined == nil {
			s.Quarantined = map[string]string{}
		}
		s.Quarantined[s.Releases[e.Subject].Digest] = n.Message
	}
	return s, nil
}

func foldStart(s State, e journal.Event) (State, error) {
	var r Rollout
	if err := e.Decode(&r); err != nil {
		return s, err
	}
	r.ID, r.By, r.StartedAt = e.Subject, e.By, e.At
	r.Step, r.Phase, r.PhaseAt, r.Weight, r.JudgedAt = 0, Scaling, e.At, 0, e.At
	if r.Settle {
		r.Phase = Settling
	}
	if s.Warm != nil && (s.Warm.Version != r.To || r.Settle) {
		s.Warm = nil // what this rollout would go back to is the stable release, which runs
	}
	s.Active = &r
	s.Count++
	return s, nil
}

func foldProgress(r *Rollout, e journal.Event) error {
	switch e.Kind {
	case RolloutStep, RolloutReady, RolloutShifted:
		return foldStep(r, e)
	case RolloutWaiting, RolloutPromoted, RolloutContained:
		return foldNote(r, e)
	case RolloutReturned:
		r.Weight, r.PhaseAt = 0, e.At
	case RolloutPaused:
		var n Note
		if err := e.Decode(&n); err != nil {
			return err
		}
		r.Paused, r.PausedBy, r.PausedAt, r.Message = true, e.By, e.At, n.Message
	case RolloutResumed:
		// Time spent paused counts for neither the bake nor the deadline.
		r.PhaseAt = r.PhaseAt.Add(e.At.Sub(r.PausedAt))
		r.Paused, r.PausedBy, r.PausedAt = false, "", time.Time{}
		r.Resumes++
	case RolloutAborting:
		var a AbortData
		if err := e.Decode(&a); err != nil {
			return err
		}
		r.Phase, r.PhaseAt, r.Paused = Aborting, e.At, false
		r.Message, r.Automatic, r.Then = a.Message, a.Automatic, a.Then
		if a.Contain {
			r.Weight, r.Contained = 0, true
		}
	}
	return nil
}

func foldStep(r *Rollout, e journal.Event) error {
	var d StepData
	if err := e.Decode(&d); err != nil {
		return err
	}
	r.Step, r.PhaseAt, r.Approved = d.Step, e.At, false
	switch e.Kind {
	case RolloutStep:
		r.Phase, r.Settle = Scaling, false
	case RolloutReady:
		r.Phase, r.Weight, r.Contained = Shifting, d.Weight, false
	case RolloutShifted:
		r.Phase = Baking
	}
	return nil
}

func foldNote(r *Rollout, e journal.Event) error {
	var n Note
	if err := e.Decode(&n); err != nil {
		return err
	}
	r.Message = n.Message
	switch e.Kind {
	case RolloutWaiting:
		r.Phase, r.PhaseAt = Waiting, e.At
	case RolloutContained:
		r.Phase, r.PhaseAt, r.Weight, r.Contained = Waiting, e.At, 0, true
	case RolloutPromoted:
		r.Approved, r.Paused = true, false
		if r.Contained {
			r.JudgedAt = e.At // a second chance is not judged by what cost the first
		}
	}
	return nil
}

func foldEnd(s State, r Rollout, e journal.Event) (State, error) {
	var d EndData
	if err := e.Decode(&d); err != nil {
		return s, err
	}
	r.Phase, r.PhaseAt, r.EndedAt, r.Paused = d.Phase, e.At, e.At, false
	if d.Message != "" {
		r.Message = d.Message
	}
	if d.Phase == Succeeded {
		s = foldSuccess(s, r, e.At)
	}
	if d.Phase != Succeeded {
		r.Weight = 0
	}
	if d.KeepCandidate {
		s.Warm = &Warm{Version: r.To, Instances: r.Current().Candidate, Until: e.At.Add(keepAfterFailure)}
	}
	s.Active = nil
	s.Outcomes = maps.Clone(s.Outcomes)
	if s.Outcomes == nil {
		s.Outcomes = map[Phase]int{}
	}
	s.Outcomes[d.Phase]++
	s.History = append(slices.Clip(s.History), r)
	if n := len(s.History); n > historyKept {
		s.History = s.History[n-historyKept:]
	}
	return s, nil
}

func foldSuccess(s State, r Rollout, at time.Time) State {
	s.Warm = nil
	if r.From != "" && r.From != r.To && r.Keep > 0 {
		s.Warm = &Warm{Version: r.From, Instances: warmInstances(s, r), Until: at.Add(r.Keep.Std())}
	}
	switch {
	case r.Purpose == Rollback:
		s.Previous = before(s, r.To)
	case r.From != "" && r.From != r.To:
		s.Previous = r.From
	}
	s.Stable = r.To
	s.Instances = r.Current().Candidate
	return s
}

// before is the release that version replaced when it was last deployed, or "". After a rollback that is where the next one
// goes: not forward again to the release that people went back from.
func before(s State, version string) string {
	for _, r := range slices.Backward(s.History) {
		if r.Purpose == Deploy && r.Phase == Succeeded && r.To == version && r.From != version {
			if _, known := s.Releases[r.From]; known {
				return r.From
			}
			return ""
		}
	}
	return ""
}

func warmInstances(s State, r Rollout) int {
	if last := r.Current().Stable; last > 0 {
		return last
	}
	return s.Instances
}
