package console

import (
	"cmp"
	"context"
	"fmt"
	"time"

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
	if a != nil && a.Purpose == rollout.Rollback && a.Phase != rollout.Aborting && (in.To == "" || in.To == a.To) {
		return d.joinRollback(s, who, a, in)
	}
	if a != nil && (in.To == "" || in.To == a.From) {
		if a.Phase == rollout.Aborting {
			return d.stayBack(who, a, in.Common)
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
	r := rollbackRollout(s, to, who, in.Reason)
	if err := d.shape(ctx, s, &r); err != nil {
		return nil, nil, err
	}
	return d.launchRollback(ctx, s, who, in, r)
}

// stayBack answers whoever asks to go back while that happens already. A rollout that was to begin afterwards is called
// off: it is not what they mean.
func (d *Desk) stayBack(who string, a *rollout.Rollout, c Common) ([]journal.Event, any, error) {
	ack := Ack{Message: fmt.Sprintf("%s is going back to %s already", a.ID, orNone(a.From)), Rollout: a}
	if a.Then == nil || c.Plan {
		return nil, ack, nil
	}
	ack.Message += fmt.Sprintf("; %s to %s will not begin", a.Then.ID, a.Then.To)
	return []journal.Event{journal.New(d.now(), who, rollout.RolloutAborting, a.ID, rollout.AbortData{
		Message: because(fmt.Sprintf("%s called off by %s", a.Then.ID, who), c.Reason)})}, ack, nil
}

// joinRollback answers whoever asks for the rollback that is under way already: two people at night mean the same thing, and
// the second must not undo what the first has begun.
func (d *Desk) joinRollback(s rollout.State, who string, a *rollout.Rollout, in RollbackRequest) ([]journal.Event, any, error) {
	message := fmt.Sprintf("%s is going back to %s already, asked for by %s", a.ID, a.To, a.By)
	if in.Plan {
		return nil, nil, fail(CodeRefused, "covetctl rollout watch follows it, covetctl rollout abort undoes it", "%s", message)
	}
	if in.PlanHash != "" && in.PlanHash != a.PlanHash {
		return nil, nil, stalePlan(in.PlanHash, a.PlanHash)
	}
	var events []journal.Event
	switch {
	case d.still(s):
		events = append(events, journal.New(d.now(), who, rollout.RolloutEnded, a.ID, rollout.EndData{Phase: rollout.Succeeded,
			Message: d.later(s, a.To)}))
	case a.Paused:
		events = append(events, journal.New(d.now(), who, rollout.RolloutResumed, a.ID, nil))
	}
	return events, Ack{Message: message, Rollout: a}, nil
}

// wentBackJustNow is how long after a return a rollback that names no version is taken for the same wish once more.
const wentBackJustNow = time.Minute

// alreadyBack refuses to go back twice for one trouble: covetd, or somebody else, may have been quicker.
func (d *Desk) alreadyBack(s rollout.State) error {
	last, ok := s.Find("")
	if !ok || (last.Purpose == rollout.Rollback) != (last.Phase == rollout.Succeeded) || last.Phase == rollout.Failed {
		return nil
	}
	ago := d.now().Sub(last.EndedAt)
	if ago >= wentBackJustNow {
		return nil
	}
	further := s.Previous
	if further == "" {
		further = "VERSION"
	}
	return fail(CodeRefused, "to go further back, name it: covetctl rollback --to "+further,
		"%s went back to %s already, %s ago: %s", last.ID, s.Stable, journal.Duration(ago.Round(time.Second)),
		cmp.Or(last.Message, "asked for by "+last.By))
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
		if err := d.alreadyBack(s); err != nil {
			return rollout.Release{}, err
		}
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
func (d *Desk) launchRollback(ctx context.Context, s rollout.State, who string, in RollbackRequest, r rollout.Rollout) ([]journal.Event, any, error) {
	events, answer, err := d.launch(ctx, s, who, Rollback, r, in.Common)
	if err != nil || in.Plan {
		return events, answer, err
	}
	if !d.still(s) {
		if step := r.Steps[0]; s.Active == nil && !r.InPlace && d.serves(r.To, step.Candidate) {
			events = append(events, journal.New(d.now(), who, rollout.RolloutReady, r.ID, rollout.StepData{Weight: step.Weight}))
		}
		return events, answer, nil
	}
	message := d.later(s, r.To)
	now := d.now()
	if a := s.Active; a != nil {
		events = append(events, journal.New(now, who, rollout.RolloutEnded, a.ID, rollout.EndData{Phase: rollout.RolledBack}),
			journal.New(now, who, rollout.RolloutStarted, r.ID, r))
	}
	events = append(events, journal.New(now, who, rollout.RolloutEnded, r.ID, rollout.EndData{Phase: rollout.Succeeded, Message: message}))
	return events, Ack{Message: message, Rollout: &r}, nil
}
