package console

import (
	"context"
	"strings"

	"github.com/covetpy/covet/ops/rollout"
)

// Surveyor knows what a platform makes of a rollout. A Desk without one plans for a platform that does exactly as it is told.
type Surveyor interface {
	// Shape fits a rollout that is about to be planned to the platform: its steps, and whether the platform makes them itself.
	Shape(ctx context.Context, s rollout.State, r *rollout.Rollout) error
	// Survey tells what stands in the rollout's way, what is unusual, and what it would change.
	Survey(ctx context.Context, s rollout.State, r rollout.Rollout) (Survey, error)
}

// Survey is what a platform says of a rollout that has not begun.
type Survey struct {
	Refusals []string         // why it must not begin
	Notes    []string         // what is unusual, and what it may cost
	First    []PlanStep       // what is put in order before the rollout's own first step
	Changes  []rollout.Change // what differs in the platform's own records
}

// Recorder makes a release's manifest of what somebody asks to record, where the platform keeps more than they can say.
type Recorder interface {
	Record(ctx context.Context, s rollout.State, in AddReleaseRequest) (rollout.Manifest, error)
}

// StopSurveyor is a Surveyor that also knows what stands in the way of stopping the service, and what is unusual about it.
type StopSurveyor interface {
	SurveyStop(ctx context.Context, s rollout.State) (refusals, notes []string, err error)
}

// surveyStop adds to the plan of a stop what only the platform knows, and refuses one that can't succeed.
func (d *Desk) surveyStop(ctx context.Context, s rollout.State, c Common, p *Plan) error {
	v, ok := d.Surveyor.(StopSurveyor)
	if !ok {
		return nil
	}
	refusals, notes, err := v.SurveyStop(ctx, s)
	if err != nil {
		return err
	}
	if len(refusals) > 0 && !c.Plan {
		return fail(CodeRefused, "nothing was changed; put that right first (--plan shows all of it)", "the service cannot be stopped: %s", strings.Join(refusals, "; "))
	}
	for _, why := range refusals {
		p.Warnings = append(p.Warnings, cannotBegin+why)
	}
	p.Warnings = append(p.Warnings, notes...)
	return nil
}

// cannotBegin begins the warnings of a plan that can't be carried out as things stand.
const cannotBegin = "it cannot begin: "

// shape fits the rollout to the platform.
func (d *Desk) shape(ctx context.Context, s rollout.State, r *rollout.Rollout) error {
	if d.Surveyor == nil {
		return nil
	}
	return d.Surveyor.Shape(ctx, s, r)
}

// survey adds to a plan what only the platform knows. A rollback that is not planned is not held up by it.
func (d *Desk) survey(ctx context.Context, s rollout.State, r rollout.Rollout, p *Plan) error {
	if d.Surveyor == nil || r.Purpose == rollout.Rollback && !p.shown {
		return nil
	}
	found, err := d.Surveyor.Survey(ctx, s, r)
	if err != nil {
		return err
	}
	for _, why := range found.Refusals {
		p.Warnings = append(p.Warnings, cannotBegin+why)
	}
	p.Warnings = append(p.Warnings, found.Notes...)
	p.Steps = append(found.First, p.Steps...)
	for _, step := range found.First {
		p.Duration += step.Duration
	}
	p.Changes = append(p.Changes, found.Changes...)
	if len(found.Refusals) > 0 && !p.shown {
		return fail(CodeRefused, "nothing was changed; put that right first (--plan shows all of it)", "rollout to %s cannot begin: %s",
			r.To, strings.Join(found.Refusals, "; "))
	}
	return nil
}
