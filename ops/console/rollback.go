package console

import (
	"context"
	"fmt"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// rollback goes back: where a rollout is under way and the target is what it came from, by undoing it; otherwise by a
// rollout of its own, which moves all the traffic as soon as the old release has the capacity.
func (d *Desk) rollback(ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[RollbackRequest](body)
	if err != nil {
		return nil, nil, err
	}
	a := s.Active
	if a != nil && (in.To == "" || in.To == a.From) {
		if a.Phase == rollout.Aborting {
			return nil, Ack{Message: fmt.Sprintf("%s is going back to %s already", a.ID, a.From), Rollout: a}, nil
		}
		return d.goBack(s, who, Rollback, a, in.Common)
	}
	to, err := d.rollbackTo(s, in)
	if err != nil {
		return nil, nil, err
	}
	if err := d.verify(ctx, to); err != nil {
		return nil, nil, err
	}
	return d.launchRollback(s, who, in, rollbackRollout(s, to, who, in.Reason))
}

func rollbackRollout(s rollout.State, to rollout.Release, who, reason string) rollout.Rollout {
	n := max(s.Instances, to.Manifest.Instances)
	return rollout.Rollout{
		ID: nextID(s), Purpose: rollout.Rollback, Strategy: rollout.BlueGreen, From: s.Stable, To: to.Version,
		Tuning: rollout.Tuning{Strategy: rollout.BlueGreen, NoBake: true, NoKeep: true, Deadline: rollout.DefaultDeadline},
		Reason: reason, By: who, Phase: rollout.Scaling,
		Steps: []rollout.Step{{Weight: 100, Candidate: n}},
	}
}

func (d *Desk) rollbackTo(s rollout.State, in RollbackRequest) (rollout.Release, error) {
	version := in.To
	if version == "" {
		version = s.Previous
	}
	if version == "" {
		return rollout.Release{}, fail(CodeRefused, "name one: covetctl rollback --to VERSION", "there is no earlier release to go back to")
	}
	r, err := findRelease(s, version)
	if err != nil {
		return r, err
	}
	if version == s.Stable {
		return r, fail(CodeRefused, "covetctl status shows what serves", "%s is what serves already", version)
	}
	if a := s.Active; a != nil && a.To == version {
		return r, fail(CodeRefused, "covetctl rollback without --to goes back to "+orNone(a.From), "%s is the candidate of %s, which is under way", version, a.ID)
	}
	if why, bad := s.Quarantined[r.Digest]; bad && !in.Force && !in.Plan {
		return r, fail(CodeRefused, "choose another release, or say --force", "release %s is quarantined: %s", version, why)
	}
	return r, nil
}

// launchRollback starts it, or, with covetd down, writes the result into the journal: the next start serves the old
// release and never starts the bad one.
func (d *Desk) launchRollback(s rollout.State, who string, in RollbackRequest, r rollout.Rollout) ([]journal.Event, any, error) {
	events, answer, err := d.launch(s, who, Rollback, r, in.Common)
	if err != nil || d.Live != nil || in.Plan {
		return events, answer, err
	}
	message := fmt.Sprintf("written while covetd was down: it serves %s when it starts", r.To)
	now := d.now()
	if a := s.Active; a != nil {
		events = append(events, journal.New(now, who, rollout.RolloutEnded, a.ID, rollout.EndData{Phase: rollout.RolledBack}),
			journal.New(now, who, rollout.RolloutStarted, r.ID, r))
	}
	events = append(events, journal.New(now, who, rollout.RolloutEnded, r.ID, rollout.EndData{Phase: rollout.Succeeded, Message: message}))
	return events, Ack{Message: message, Rollout: &r}, nil
}
