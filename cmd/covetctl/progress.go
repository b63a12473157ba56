package main

import (
	"fmt"
	"io"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/rollout"
)

// progress is a rollout under way in one line.
func (p *page) progress(r rollout.Rollout, now time.Time) string {
	line := fmt.Sprintf("%s %s %s %s %s  %s", p.Strong(r.ID), r.Strategy, orNothing(r.From), p.Arrow(), r.To, p.phase(r))
	if r.Phase.Ended() {
		return line
	}
	line += fmt.Sprintf("  step %d/%d  weight %d%%  %s", min(r.Step+1, len(r.Steps)), len(r.Steps), r.Weight, p.Bar(20, done(r, now)))
	if left, known := remaining(r, now); known {
		line += "  about " + render.Span(left) + " left"
	}
	return line
}

func (p *page) phase(r rollout.Rollout) string { return p.Mark(phaseTone(r), state(r)) }

func phaseTone(r rollout.Rollout) render.Tone {
	switch {
	case r.Phase == rollout.Succeeded:
		return render.Good
	case r.Phase == rollout.Failed:
		return render.Bad
	case r.Phase == rollout.RolledBack || r.Phase == rollout.Aborting || r.Phase == rollout.Waiting || r.Paused:
		return render.Warn
	}
	return render.Busy
}

// done is how much of the rollout is behind it, 0 to 1: its steps count alike, a step that bakes by its time.
func done(r rollout.Rollout, now time.Time) float64 {
	if len(r.Steps) == 0 {
		return 0
	}
	part := 0.0
	switch bake := r.Current().Bake.Std(); {
	case r.Phase == rollout.Waiting:
		part = 1
	case r.Phase == rollout.Baking && bake > 0:
		part = min(max(float64(now.Sub(r.PhaseAt))/float64(bake), 0), 1)
	}
	return (float64(r.Step) + part) / float64(len(r.Steps))
}

// remaining is how long the steps will yet be watched. It is unknown while a person must decide.
func remaining(r rollout.Rollout, now time.Time) (time.Duration, bool) {
	if r.Paused || r.Phase == rollout.Waiting || r.Phase == rollout.Aborting {
		return 0, false
	}
	var left time.Duration
	for i := r.Step; i < len(r.Steps); i++ {
		if r.Steps[i].Approve {
			return 0, false
		}
		left += r.Steps[i].Bake.Std()
	}
	if r.Phase == rollout.Baking {
		left -= min(max(now.Sub(r.PhaseAt), 0), r.Current().Bake.Std())
	}
	return left, left > 0
}

// liveLine is a line at the bottom of a terminal that is drawn again and again while other lines pass above it.
type liveLine struct {
	w       io.Writer
	columns func(io.Writer) int
	shown   bool
}

func (l *liveLine) draw(text string) error {
	l.shown = true
	_, err := io.WriteString(l.w, "\r\x1b[2K"+ansi.Truncate(text, l.columns(l.w)-1, "…"))
	return err
}

func (l *liveLine) clear() error {
	if !l.shown {
		return nil
	}
	l.shown = false
	_, err := io.WriteString(l.w, "\r\x1b[2K")
	return err
}
