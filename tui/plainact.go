package tui

import (
	"context"
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/store"
)

// arguments is what is to be typed after a command in the plain console; empty for commands it leaves to covetctl, and
// for those that take none.
func arguments(op console.Op) string {
	switch op {
	case console.StartRollout:
		return "VERSION [canary|rolling|blue-green]"
	case console.Rollback:
		return "[VERSION]"
	case console.PauseRollout, console.ResumeRollout, console.Promote:
		return " "
	}
	return ""
}

// act does an action that was typed as its command.
func (p *plain) act(s *store.Snapshot, words []string) {
	for _, a := range action.All() {
		n := len(strings.Fields(a.Command))
		if a.Kind != action.Change || len(words) < n || strings.Join(words[:n], " ") != a.Command {
			continue
		}
		if a.On != "" {
			p.say("%s", ownCommand)
			return
		}
		if ok, why := a.Enabled(action.State{Snap: s, Write: p.o.Now().Before(p.writeUntil)}); !ok {
			p.say("Not done: %s.", strings.Replace(why, "w turns writing on", "type write first", 1))
			return
		}
		build, why := request(a.Op, words[n:])
		if why != "" {
			p.say("%s", why)
			return
		}
		p.run(a, build)
		return
	}
	p.say("%q is not known here. Type help, or leave and use covetctl %s.", strings.Join(words, " "), words[0])
}

// request makes an action's request of what was typed after it, or says what is missing.
func request(op console.Op, args []string) (build func(console.Common) any, why string) {
	switch op {
	case console.StartRollout:
		if len(args) == 0 {
			return nil, "Say which release: rollout start VERSION."
		}
		in := console.StartRequest{To: args[0]}
		if len(args) > 1 {
			in.Strategy = rollout.Strategy(args[1])
		}
		return func(c console.Common) any { in.Common = c; return in }, ""
	case console.Rollback:
		var in console.RollbackRequest
		if len(args) > 0 {
			in.To = args[0]
		}
		return func(c console.Common) any { in.Common = c; return in }, ""
	case console.AbortRollout, console.PauseRollout, console.ResumeRollout, console.Promote:
		return func(c console.Common) any { return console.Target{Common: c} }, ""
	}
	return nil, ownCommand
}

const ownCommand = "This one is a command of its own: leave with quit and use covetctl, with --help for its arguments."

// run gives a command to the service, or first tells its plan where it destroys.
func (p *plain) run(a action.Action, build func(console.Common) any) {
	ctx, cancel := context.WithTimeout(p.ctx, answerWithin)
	defer cancel()
	if !a.Destructive {
		var ack console.Ack
		p.answered(p.o.Port.Do(ctx, a.Op, build(console.Common{}), &ack), ack)
		return
	}
	var plan console.Plan
	if err := p.o.Port.Do(ctx, a.Op, build(console.Common{Plan: true}), &plan); err != nil {
		p.answered(err, console.Ack{})
		return
	}
	p.pending = &pending{a.Op, build, plan}
	p.say("Plan %s: %s.", plan.Hash, plan.Summary)
	for i, step := range plan.Steps {
		p.say("Step %d: %s.", i+1, step.Do)
	}
	for _, ch := range plan.Changes {
		p.say("Changes %s from %s to %s.", ch.Field, orNone(ch.From), orNone(ch.To))
	}
	for _, w := range plan.Warnings {
		p.say("Warning: %s.", w)
	}
	p.say("Undo: %s.", plan.Undo)
	p.say("Type %s to run it. Anything else leaves it.", named(plan))
}

func named(plan console.Plan) string {
	if plan.Env == "" {
		return plan.Service
	}
	return plan.Env + "/" + plan.Service
}

// confirm runs the plan that was told if the service's name was typed.
func (p *plain) confirm(line string) {
	w := p.pending
	p.pending = nil
	switch {
	case line != named(w.plan):
		p.say("Left. Nothing was done.")
		return
	case !p.o.Now().Before(p.writeUntil):
		p.say("Write mode is over. Nothing was done.")
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, answerWithin)
	defer cancel()
	var ack console.Ack
	err := p.o.Port.Do(ctx, w.op, w.build(console.Common{PlanHash: w.plan.Hash}), &ack)
	p.answered(err, ack)
}

func (p *plain) answered(err error, ack console.Ack) {
	if err != nil {
		p.say("Not done: %s", fmt.Sprint(err))
		return
	}
	p.say("Accepted: %s", ack.Message)
}
