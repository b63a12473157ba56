package console

import (
	"cmp"
	"context"
	"fmt"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/rollout"
)

// posture is how recoverable the database is.
func (d *Desk) posture() (*recovery.Posture, error) {
	if d.Recovery == nil {
		return nil, fail(CodeNotFound, "set COVET_REPO, or BACKUP_SCHEDULE, in covetd's configuration (covetctl backup config)", "covetd looks after no backups")
	}
	p := d.Recovery()
	if p == nil {
		return nil, fail(CodeUnreachable, "try again in a few seconds", "covetd has not looked at the backups yet")
	}
	return p, nil
}

// still says that nothing runs, so that what is decided takes effect when something does.
func (d *Desk) still(s rollout.State) bool { return d.Live == nil || s.Stopped != nil }

// later says when what is decided while nothing runs takes effect.
func (d *Desk) later(s rollout.State, version string) string {
	if s.Stopped != nil {
		return fmt.Sprintf("%s serves when the service is started", version)
	}
	return fmt.Sprintf("written while covetd was down: it serves %s when it starts", version)
}

// stopService scales the service to nothing, and keeps it there.
func (d *Desk) stopService(ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[Target](body)
	if err != nil {
		return nil, nil, err
	}
	if s.Stopped != nil {
		if s.Stopped.Restore != in.ID && s.Stopped.Restore != "" {
			return nil, nil, fail(CodeLocked, "covetctl restore status shows it", "the service is stopped for restore %s, by %s", s.Stopped.Restore, s.Stopped.By)
		}
		if in.ID == s.Stopped.Restore {
			return nil, Ack{Message: "the service is stopped already, by " + s.Stopped.By}, nil
		}
	}
	plan := Plan{
		Op: StopService, Service: d.Info.Service, Env: d.Info.Environment, From: s.Stable, At: d.now(),
		Summary: fmt.Sprintf("stop every instance of %s: nobody is answered until it is started again", orNone(s.Stable)),
		Steps: []PlanStep{
			{Do: "every instance finishes its requests and stops", Touches: s.Stable},
			{Do: "new requests are answered with 503", Touches: s.Stable},
		},
		Hash: hash(s, StopService, rollout.Rollout{From: s.Stable, Reason: in.ID}, "", ""),
		Undo: "covetctl service start: the time the instances take to start; no data is lost",
	}
	if a := s.Active; a != nil {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("%s (%s → %s) stands still meanwhile", a.ID, orNone(a.From), a.To))
	}
	if err := d.surveyStop(ctx, s, in.Common, &plan); err != nil {
		return nil, nil, err
	}
	if answer, err := planned(in.Common, plan); answer != nil || err != nil {
		return nil, answer, err
	}
	return []journal.Event{journal.New(d.now(), who, rollout.ServiceStopped, d.Info.Service, rollout.Stop{Reason: in.Reason, Restore: in.ID})},
		Ack{Message: "the service stops"}, nil
}

// startService lets the service run again. One that was stopped for a restore must not come up on half of a database: who
// starts it names the restore.
func (d *Desk) startService(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[Target](body)
	if err != nil {
		return nil, nil, err
	}
	stop := s.Stopped
	if stop == nil {
		return nil, Ack{Message: "the service is not stopped"}, nil
	}
	if stop.Restore != "" && in.ID != stop.Restore && !in.Plan {
		return nil, nil, fail(CodeRefused, fmt.Sprintf("covetctl restore resume finishes it; covetctl service start --restore %s starts all the same", stop.Restore),
			"the service is stopped for restore %s of its database, which is not finished", stop.Restore)
	}
	plan := Plan{
		Op: StartService, Service: d.Info.Service, Env: d.Info.Environment, To: s.Stable, At: d.now(),
		Summary: fmt.Sprintf("start %d instances of %s", s.Instances, orNone(s.Stable)),
		Steps:   []PlanStep{{Do: fmt.Sprintf("%d instances of %s start, and get the traffic once they are ready", s.Instances, orNone(s.Stable)), Touches: s.Stable, Duration: startGuess}},
		Hash:    hash(s, StartService, rollout.Rollout{To: s.Stable, Reason: stop.Restore}, "", ""), Duration: startGuess,
		Undo: "covetctl service stop",
	}
	if answer, err := planned(in.Common, plan); answer != nil || err != nil {
		return nil, answer, err
	}
	return []journal.Event{journal.New(d.now(), who, rollout.ServiceStarted, d.Info.Service, rollout.Note{Message: in.Reason})},
		Ack{Message: fmt.Sprintf("the service starts with %s", cmp.Or(s.Stable, "nothing"))}, nil
}

// planned is the plan, where it was asked for, and the refusal of one that is out of date.
func planned(c Common, plan Plan) (any, error) {
	if c.Plan {
		return plan, nil
	}
	if c.PlanHash != "" && c.PlanHash != plan.Hash {
		return nil, stalePlan(c.PlanHash, plan.Hash)
	}
	return nil, nil
}
