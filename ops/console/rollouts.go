package console

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func (d *Desk) startRollout(ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[StartRequest](body)
	if err != nil {
		return nil, nil, err
	}
	return d.start(ctx, s, who, StartRollout, in)
}

// start decides on a new rollout, and on what happens to the one under way.
func (d *Desk) start(ctx context.Context, s rollout.State, who string, op Op, in StartRequest) ([]journal.Event, any, error) {
	to, err := findRelease(s, in.To)
	if err != nil {
		return nil, nil, err
	}
	if err := d.mayStart(s, in, to); err != nil {
		return nil, nil, err
	}
	if err := d.verify(ctx, to); err != nil {
		return nil, nil, err
	}
	tuning, err := in.Normalize()
	if err != nil {
		return nil, nil, fail(CodeUsage, "covetctl rollout start --help has examples", "rollout to %s: %v", in.To, err)
	}
	r := rollout.Rollout{
		ID: nextID(s), Purpose: rollout.Deploy, Strategy: tuning.Strategy, From: s.Stable, To: in.To,
		Tuning: tuning, Keep: tuning.Keep, Reason: in.Reason, By: who,
		Steps: rollout.Steps(tuning, s.Instances, to.Manifest.Instances), Phase: rollout.Scaling,
	}
	if s.Stable == "" {
		r.Steps, r.Keep = rollout.Steps(tuning, 0, to.Manifest.Instances), 0
	}
	if err := d.shape(ctx, s, &r); err != nil {
		return nil, nil, err
	}
	return d.launch(ctx, s, who, op, r, in.Common)
}

// mayStart says why a rollout may not start, or nothing.
func (d *Desk) mayStart(s rollout.State, in StartRequest, to rollout.Release) error {
	if d.Live == nil {
		return fail(CodeUnreachable, "start covetd first; only covetctl rollback works without it", "covetd is not running, and only it can roll out")
	}
	if s.Stopped != nil && !in.Plan {
		return fail(CodeRefused, "covetctl service start starts it", "the service is stopped, by %s: %s", s.Stopped.By, cmp.Or(s.Stopped.Reason, "no reason given"))
	}
	if a := s.Active; a != nil && !in.Supersede && !in.Plan {
		return lockedBy(a)
	}
	if a := s.Active; a != nil && a.To == in.To {
		return lockedBy(a)
	}
	if s.Stable == in.To {
		return fail(CodeRefused, "nothing to do", "%s is the stable release already", in.To)
	}
	if why, bad := s.Quarantined[to.Digest]; bad && !in.Force && !in.Plan {
		return fail(CodeRefused, "add a corrected release, or say --force", "release %s is quarantined: %s", in.To, why)
	}
	return nil
}

func lockedBy(a *rollout.Rollout) error {
	return fail(CodeLocked, fmt.Sprintf("covetctl rollout watch %s follows it; --supersede undoes it first", a.ID),
		"rollout %s (%s → %s, %s) is under way, started by %s %s ago", a.ID, orNone(a.From), a.To, a.Phase, a.By,
		journal.Duration(time.Since(a.StartedAt).Round(time.Second)))
}

// nextID numbers rollouts in the order in which they were asked for.
func nextID(s rollout.State) string { return fmt.Sprintf("r-%d", s.Count+1) }

// launch answers with the plan of a rollout, or with the events that begin it.
func (d *Desk) launch(ctx context.Context, s rollout.State, who string, op Op, r rollout.Rollout, c Common) ([]journal.Event, any, error) {
	plan := planRollout(s, op, r, d.now())
	plan.Service, plan.Env, plan.shown = d.Info.Service, d.Info.Environment, c.Plan
	if err := d.survey(ctx, s, r, &plan); err != nil {
		return nil, nil, err
	}
	if c.Plan {
		return nil, plan, nil
	}
	if c.PlanHash != "" && c.PlanHash != plan.Hash {
		return nil, nil, stalePlan(c.PlanHash, plan.Hash)
	}
	r.PlanHash = plan.Hash
	ack := Ack{Message: fmt.Sprintf("%s: %s", r.ID, plan.Summary), Rollout: &r}
	if a := s.Active; a != nil {
		return []journal.Event{journal.New(d.now(), who, rollout.RolloutAborting, a.ID, rollout.AbortData{
			Message: fmt.Sprintf("superseded by %s to %s", r.ID, r.To), Then: &r})}, ack, nil
	}
	return []journal.Event{journal.New(d.now(), who, rollout.RolloutStarted, r.ID, r)}, ack, nil
}

func stalePlan(given, now string) error {
	return fail(CodeStalePlan, "make the plan again and look at it: things have changed since", "the plan %s is out of date: it would be %s now", given, now)
}

// active returns the rollout a command is about, which must be under way.
func active(s rollout.State, in Target) (*rollout.Rollout, error) {
	a := s.Active
	if a == nil {
		return nil, fail(CodeRefused, "covetctl rollout history tells what became of the last one", "no rollout is under way")
	}
	if in.ID != "" && in.ID != a.ID {
		return nil, fail(CodeRefused, "covetctl rollout status "+in.ID+" tells what became of it", "rollout %s is not under way; %s is", in.ID, a.ID)
	}
	return a, nil
}

// onActive is the common part of the commands about the rollout under way: one that goes back cannot be changed any more.
func onActive(s rollout.State, body []byte) (Target, *rollout.Rollout, error) {
	in, err := parse[Target](body)
	if err != nil {
		return in, nil, err
	}
	a, err := active(s, in)
	if err != nil {
		return in, nil, err
	}
	if a.Phase == rollout.Aborting {
		return in, a, fail(CodeRefused, "covetctl rollout watch follows it", "rollout %s is going back already: %s", a.ID, a.Message)
	}
	return in, a, nil
}

func (d *Desk) pauseRollout(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, a, err := onActive(s, body)
	if err != nil {
		return nil, nil, err
	}
	if a.Paused {
		return nil, Ack{Message: fmt.Sprintf("%s is paused already, by %s", a.ID, a.PausedBy), Rollout: a}, nil
	}
	return []journal.Event{journal.New(d.now(), who, rollout.RolloutPaused, a.ID, rollout.Note{Message: in.Reason})},
		Ack{Message: fmt.Sprintf("%s stays where it is, at %d%% (covetctl rollout resume)", a.ID, a.Weight), Rollout: a}, nil
}

func (d *Desk) resumeRollout(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	_, a, err := onActive(s, body)
	if err != nil {
		return nil, nil, err
	}
	if !a.Paused {
		return nil, Ack{Message: a.ID + " is not paused", Rollout: a}, nil
	}
	return []journal.Event{journal.New(d.now(), who, rollout.RolloutResumed, a.ID, nil)},
		Ack{Message: a.ID + " goes on", Rollout: a}, nil
}

func (d *Desk) promote(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, a, err := onActive(s, body)
	if err != nil {
		return nil, nil, err
	}
	if a.Phase != rollout.Waiting && a.Phase != rollout.Baking {
		return nil, nil, fail(CodeRefused, "wait until this step's traffic has moved (covetctl rollout watch)",
			"rollout %s is %s: there is nothing to promote yet", a.ID, a.Phase)
	}
	return []journal.Event{journal.New(d.now(), who, rollout.RolloutPromoted, a.ID, rollout.Note{Message: in.Reason})},
		Ack{Message: a.ID + " goes on to its next step", Rollout: a}, nil
}

func (d *Desk) abortRollout(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, a, err := onActive(s, body)
	if a != nil && a.Phase == rollout.Aborting && a.Then != nil {
		return d.stayBack(who, a, in.Common)
	}
	if err != nil {
		return nil, nil, err
	}
	return d.goBack(s, who, AbortRollout, a, in.Common)
}

// goBack undoes the rollout under way.
func (d *Desk) goBack(s rollout.State, who string, op Op, a *rollout.Rollout, c Common) ([]journal.Event, any, error) {
	plan := d.planGoBack(s, op, a)
	if c.Plan {
		return nil, plan, nil
	}
	if c.PlanHash != "" && c.PlanHash != plan.Hash {
		return nil, nil, stalePlan(c.PlanHash, plan.Hash)
	}
	message := because("aborted by "+who, c.Reason)
	events := []journal.Event{journal.New(d.now(), who, rollout.RolloutAborting, a.ID, rollout.AbortData{Message: message})}
	switch {
	case d.still(s):
		events = append(events, journal.New(d.now(), who, rollout.RolloutEnded, a.ID, rollout.EndData{Phase: rollout.RolledBack,
			Message: message + "; " + d.later(s, orNone(a.From))}))
	case a.Weight > 0 && d.serves(a.From, s.Instances):
		events = append(events, journal.New(d.now(), who, rollout.RolloutReturned, a.ID, nil)) // the engine need not look first
	}
	return events, Ack{Message: fmt.Sprintf("%s goes back to %s", a.ID, orNone(a.From)), Rollout: a}, nil
}

// serves reports whether a release has so many instances ready, as far as is seen now.
func (d *Desk) serves(version string, instances int) bool {
	ready, _ := d.Live.Snapshot().Count(version)
	return ready > 0 && ready >= instances
}

func (d *Desk) planGoBack(s rollout.State, op Op, a *rollout.Rollout) Plan {
	r := *a
	return Plan{
		Op: op, Service: d.Info.Service, Env: d.Info.Environment, From: a.To, To: a.From, Rollout: &r, At: d.now(),
		Hash:    hash(s, op, r, s.Releases[r.From].Digest, s.Releases[r.To].Digest),
		Summary: fmt.Sprintf("undo %s: all traffic from %s back to %s", a.ID, a.To, orNone(a.From)),
		Steps: []PlanStep{
			{Do: fmt.Sprintf("have %d instances of %s ready", s.Instances, orNone(a.From)), Touches: a.From},
			{Do: "traffic 100% to " + orNone(a.From), Touches: a.From + ", " + a.To},
			{Do: fmt.Sprintf("%s finishes its requests and stops", a.To), Touches: a.To},
		},
		Undo: "covetctl rollout retry begins it anew",
	}
}

func (d *Desk) retryRollout(ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[Target](body)
	if err != nil {
		return nil, nil, err
	}
	if s.Active != nil {
		return nil, nil, lockedBy(s.Active)
	}
	last, ok := s.Find(in.ID)
	if !ok {
		return nil, nil, fail(CodeNotFound, "covetctl rollout history lists them", "there is no rollout %q to retry", in.ID)
	}
	if last.Phase == rollout.Succeeded {
		return nil, nil, fail(CodeRefused, "covetctl rollout start begins another", "rollout %s succeeded: there is nothing to retry", last.ID)
	}
	return d.start(ctx, s, who, RetryRollout, StartRequest{To: last.To, Tuning: last.Tuning, Force: true, Common: in.Common})
}
