package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// follower shows what happens to one rollout until it ends, or until a person must decide.
type follower struct {
	app     *app
	id      string
	goal    rollout.Phase // the end that was asked for
	started bool          // the rollout has begun: before that, the one it supersedes is shown
	about   map[string]bool
	live    *liveLine
}

// unfinisher is a Port whose program may be the one that carries out a rollout.
type unfinisher interface {
	Unfinished() string // what nobody carries out once this program has ended, or nothing
}

// leftBehind says what becomes of a rollout that is watched no more.
func leftBehind(port console.Port, id string) error {
	if u, ok := port.(unfinisher); ok && u.Unfinished() == id {
		return &interrupted{
			message: "stopped: nobody carries out rollout " + id + " now; the traffic stays as it is",
			hint:    "covetctl rollout resume goes on with it, covetctl rollout abort undoes it",
		}
	}
	return &interrupted{
		message: "stopped watching; rollout " + id + " goes on",
		hint:    "covetctl rollout watch " + id + " takes it up again, covetctl rollout abort undoes it",
	}
}

// follow shows what happens to a rollout after the event with the number.
func (a *app) follow(ctx context.Context, port console.Port, id string, after journal.Seq, goal rollout.Phase) error {
	f := &follower{app: a, id: id, goal: goal, about: map[string]bool{}}
	s := &stream{app: a, port: port, after: after, take: f.take, before: f.clear}
	if a.human() && a.terminal(a.out) && !a.flags.quiet {
		f.live = &liveLine{w: a.out, columns: a.columns}
	}
	err := s.run(ctx)
	if cerr := f.clear(); cerr != nil {
		return cerr
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return leftBehind(port, id)
	}
	if err != nil || !a.human() || a.flags.quiet {
		return err
	}
	p := a.page()
	if goal == rollout.RolledBack {
		p.line("%s", p.Mark(render.Good, "rollout "+id+" is undone"))
	} else {
		p.line("%s", p.Mark(render.Good, "rollout "+id+" succeeded"))
	}
	return p.flush(a.out)
}

func (f *follower) clear() error {
	if f.live == nil {
		return nil
	}
	return f.live.clear()
}

func (f *follower) take(u console.Update) (bool, error) {
	switch {
	case u.Event != nil:
		return f.event(*u.Event)
	case u.Status != nil:
		return f.status(*u.Status)
	}
	return false, nil
}

func (f *follower) event(e journal.Event) (bool, error) {
	if !f.concerns(e) {
		return false, nil
	}
	if err := f.clear(); err != nil {
		return true, err
	}
	if err := f.app.event(e, f.id); err != nil {
		return true, err
	}
	if e.Kind != rollout.RolloutEnded || e.Subject != f.id {
		return false, nil
	}
	var end rollout.EndData
	if err := e.Decode(&end); err != nil {
		return true, err
	}
	return true, outcome(f.id, end.Phase, end.Message, f.goal)
}

// concerns reports whether the event is about the rollout, an incident of it, or the rollout that it waits for.
func (f *follower) concerns(e journal.Event) bool {
	switch e.Kind {
	case health.IncidentOpened, health.IncidentEscalated:
		var i health.Incident
		if e.Decode(&i) == nil && i.Rollout == f.id {
			f.about[e.Subject] = true
		}
		return f.about[e.Subject]
	case health.IncidentAcked, health.IncidentClosed:
		return f.about[e.Subject]
	}
	if e.Subject == f.id {
		f.started = true
	}
	return e.Subject == f.id || !f.started && strings.HasPrefix(string(e.Kind), "rollout.")
}

// status draws where the rollout stands. It notices what the events may not have told: that a person must decide, and an
// end too far back to be among them.
func (f *follower) status(st console.Status) (bool, error) {
	if last := st.Last; last != nil && last.ID == f.id {
		return true, errors.Join(f.clear(), outcome(f.id, last.Phase, last.Message, f.goal))
	}
	r := st.Rollout
	if r == nil || r.ID != f.id {
		return false, nil
	}
	if r.Phase == rollout.Waiting && !r.Approved {
		return true, waiting(*r)
	}
	if f.live == nil {
		return false, nil
	}
	p := f.app.page()
	return false, f.live.draw(p.progress(*r, st.At))
}

// event shows one event: as it is for programs, in words for people, who know already what it is about.
func (a *app) event(e journal.Event, about string) error {
	if !a.human() {
		return a.emit(console.Update{Event: &e})
	}
	if a.flags.quiet {
		return nil
	}
	p := a.page()
	p.entry(console.Describe(e), about)
	return p.flush(a.out)
}

// entry is one line of a timeline. It names its subject unless the reader knows it already.
func (p *page) entry(e console.AuditEntry, about string) {
	text := p.Paint(kindTone(e.Kind), render.Clean(e.Text))
	if e.Subject != "" && e.Subject != about && !strings.Contains(e.Text, e.Subject) {
		text = render.Clean(e.Subject) + ": " + text
	}
	if e.By != rollout.ByCovetd {
		text += p.Paint(render.Idle, "  ("+render.Clean(e.By)+")")
	}
	p.line("%s  %s", p.Paint(render.Idle, e.At.Local().Format("15:04:05")), text)
}

func kindTone(k journal.Kind) render.Tone {
	switch k {
	case rollout.RolloutAborting, rollout.RolloutContained, rollout.ReleaseQuarantined, health.IncidentOpened, health.IncidentEscalated, console.RequestRefused:
		return render.Warn
	}
	return render.Plain
}

// waiting is the error of a rollout that waits for a person.
func waiting(r rollout.Rollout) error {
	e := &console.Error{
		Code:    console.CodeWaiting,
		Message: fmt.Sprintf("rollout %s waits for approval: %s", r.ID, r.Message),
		Hint:    "covetctl rollout promote goes on, covetctl rollout abort undoes it",
	}
	if r.Contained {
		e.Message = fmt.Sprintf("rollout %s: traffic was taken from %s, and a person must decide: %s", r.ID, r.To, r.Message)
	}
	return e
}

// outcome is how a rollout ended, as an error unless it ended as it was to.
func outcome(id string, phase rollout.Phase, why string, goal rollout.Phase) error {
	if phase == goal {
		return nil
	}
	e := &console.Error{Hint: "covetctl rollout status " + id + " has the timeline, covetctl logs what the release wrote"}
	switch phase {
	case rollout.Failed:
		e.Code, e.Message = console.CodeNotRolledBack, "rollout "+id+" failed and was NOT rolled back"
		e.Hint = "act now: covetctl status shows what serves; covetctl rollback --to VERSION"
	case rollout.RolledBack:
		e.Code, e.Message = console.CodeRolledBack, "rollout "+id+" was rolled back; the old release serves as before"
	default:
		e.Code, e.Message = console.CodeRefused, "rollout "+id+" went through all the same"
	}
	if why != "" {
		e.Message += ": " + why
	}
	return e
}
