package main

import (
	"errors"
	"fmt"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/rollout"
)

// restore is a restore of the database that isn't over, and how to go on with it.
func (p *page) restore(r rollout.Restoring) {
	tone, text, next := restoreText(r)
	p.line("%s", p.Mark(tone, render.Clean(text)))
	p.line("  %s %s", p.Arrow(), render.Clean(next))
}

func restoreText(r rollout.Restoring) (tone render.Tone, text, next string) {
	what := fmt.Sprintf("restore %s of %s:%s to %s", r.ID, r.Host, r.Place, r.Target)
	if r.State == rollout.RestoreStands {
		return render.Bad, fmt.Sprintf("%s STANDS at: %s: %s", what, r.Step, r.Says),
			fmt.Sprintf("covetctl restore resume %s goes on with it, covetctl restore abandon %s gives it up", r.ID, r.ID)
	}
	return render.Busy, fmt.Sprintf("%s is at work: %s", what, r.Step), fmt.Sprintf("covetctl restore status %s --watch", r.ID)
}

// noteRestores tells of restores where the service itself cannot be asked.
func (a *app) noteRestores(all []rollout.Restoring) error {
	var errs []error
	for _, r := range all {
		tone, text, next := restoreText(r)
		errs = append(errs, a.note(tone, "%s", render.Clean(text)), a.note(render.Idle, "%s", render.Clean(next)))
	}
	return errors.Join(errs...)
}
