package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

const rolloutLong = `A rollout moves the traffic from the stable release to another, step by step, and back by itself when that fails.

Commands without an ID are about the rollout under way, or else the newest.`

func (a *app) rolloutCommand() *cobra.Command {
	return a.group(&cobra.Command{Use: "rollout", Short: "Move the traffic to another release", Long: rolloutLong},
		a.rolloutStart(), a.rolloutPlan(), a.rolloutStatus(), a.rolloutWatch(), a.rolloutHistory(),
		a.rolloutAct("pause", "Stay in the step it is in", console.PauseRollout, "", "covetctl rollout pause --reason \"looking at the logs\""),
		a.rolloutAct("resume", "Go on after a pause", console.ResumeRollout, rollout.Succeeded, "covetctl rollout resume --watch"),
		a.rolloutAct("promote", "Approve: go on to the next step", console.Promote, rollout.Succeeded, "covetctl rollout promote --reason \"p99 looks fine\" --watch"),
		a.rolloutAct("abort", "Undo it: all traffic back to the stable release", console.AbortRollout, rollout.RolledBack, "covetctl rollout abort --reason \"wrong build\" --watch\ncovetctl rollout abort --plan"),
		a.rolloutAct("retry", "Begin a rollout anew that did not succeed", console.RetryRollout, rollout.Succeeded, "covetctl rollout retry --watch"),
	)
}

// commonFlags are those of every command of weight.
func commonFlags(c *cobra.Command, in *console.Common) {
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the audit log")
	c.Flags().BoolVar(&in.Plan, "plan", false, "show what would happen, do nothing")
	c.Flags().StringVar(&in.PlanHash, "plan-hash", "", "do it only if the plan is still the one with this hash")
	breakGlass(c, in)
}

// breakGlass is the flag of commands that may be another role's decision.
func breakGlass(c *cobra.Command, in *console.Common) {
	c.Flags().BoolVar(&in.BreakGlass, "break-glass", false, "although it is another role's decision; needs a --reason, and is written down")
}

// rolloutAct is a command about the rollout under way. Where it leads somewhere, --watch follows it there.
func (a *app) rolloutAct(name, short string, op console.Op, goal rollout.Phase, example string) *cobra.Command {
	var in console.Target
	var watch bool
	c := &cobra.Command{
		Use: name + " [ID]", Short: short, Example: example, Args: atMostOne, ValidArgsFunction: a.rollouts(),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = first(args)
			port, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			return a.act(c.Context(), port, op, in, in.Plan, watch, func(rollout.Rollout) rollout.Phase { return goal })
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the audit log")
	if op == console.AbortRollout || op == console.RetryRollout {
		c.Flags().BoolVar(&in.Plan, "plan", false, "show what would happen, do nothing")
		c.Flags().StringVar(&in.PlanHash, "plan-hash", "", "do it only if the plan is still the one with this hash")
	}
	if op == console.Promote || op == console.AbortRollout || op == console.RetryRollout {
		breakGlass(c, &in.Common)
	}
	if goal != "" {
		watchFlag(c, &watch)
	}
	return c
}

func watchFlag(c *cobra.Command, watch *bool) {
	c.Flags().BoolVarP(watch, "watch", "w", false, "follow it; the exit status says how it ended")
}

// act gives a command that is answered with a plan or an acknowledgement, and follows the rollout that it is about.
func (a *app) act(ctx context.Context, port console.Port, op console.Op, in any, plan, watch bool, goal func(rollout.Rollout) rollout.Phase) error {
	raw, err := command[json.RawMessage](ctx, a, port, op, in)
	if err != nil {
		return err
	}
	if plan {
		p, err := read[console.Plan](raw)
		if err != nil {
			return err
		}
		return a.showPlan(p)
	}
	ack, err := read[console.Ack](raw)
	if err != nil {
		return err
	}
	watch, err = a.carriesOut(ctx, port, ack, watch)
	if err != nil {
		return err
	}
	if err := a.acknowledged(ack, watch); err != nil {
		return err
	}
	if ack.Rollout == nil && op == console.ResumeRollout {
		return a.finish(ctx, port)
	}
	if !watch || ack.Rollout == nil {
		return nil
	}
	if err := a.follow(ctx, port, ack.Rollout.ID, max(ack.Seq, 1)-1, goal(*ack.Rollout)); err != nil { // the event that the command became comes first
		return err
	}
	return a.finish(ctx, port)
}

func read[T any](raw json.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, &console.Error{Code: console.CodeInternal, Message: fmt.Sprintf("cannot read covetd's answer: %v", err),
			Hint: "covetctl and covetd may be of different versions: covetctl config check"}
	}
	return v, nil
}

// acknowledged says that the command was taken. Before a stream it is the stream's first line.
func (a *app) acknowledged(ack console.Ack, streaming bool) error {
	if streaming && !a.human() {
		return a.emit(ack)
	}
	var names []string
	if ack.Rollout != nil {
		names = []string{ack.Rollout.ID}
	}
	return a.show(answer{value: ack, names: names, page: func(p *page) { p.line("%s", p.Mark(render.Good, render.Clean(ack.Message))) }})
}

func (a *app) rolloutStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status [ID]", Short: "Show a rollout and what happened to it", Args: atMostOne, ValidArgsFunction: a.rollouts(),
		Example: "covetctl rollout status\ncovetctl rollout status r-7",
		RunE: func(c *cobra.Command, args []string) error {
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			t, err := ask[console.Timeline](c.Context(), a, port, console.GetRollout, console.Query{ID: first(args)})
			if err != nil {
				return err
			}
			return a.show(answer{value: t, names: []string{t.Rollout.ID}, page: func(p *page) { p.timeline(t) }})
		},
	}
}

func (p *page) timeline(t console.Timeline) {
	r := t.Rollout
	p.line("%s", p.progress(r, p.now))
	p.field("message", render.Clean(r.Message))
	p.field("reason", render.Clean(r.Reason))
	p.field("started", p.age(r.StartedAt)+" by "+render.Clean(r.By))
	if !r.EndedAt.IsZero() {
		p.field("ended", fmt.Sprintf("%s, after %s", p.age(r.EndedAt), render.Span(r.EndedAt.Sub(r.StartedAt))))
	}
	p.line("")
	steps := p.newTable(">", "STEP", "")
	for i, s := range r.Steps {
		steps.Row(itoa(i+1), s.Describe(), p.stepMark(r, i))
	}
	p.table(steps)
	p.line("")
	for _, e := range t.Events {
		p.entry(e, r.ID)
	}
}

// stepMark says whether a step is done, under way, or not reached.
func (p *page) stepMark(r rollout.Rollout, i int) string {
	switch {
	case i < r.Step || r.Phase == rollout.Succeeded:
		return p.Mark(render.Good, "done")
	case i > r.Step:
		return ""
	}
	return p.phase(r)
}

func (a *app) rolloutWatch() *cobra.Command {
	return &cobra.Command{
		Use: "watch [ID]", Short: "Follow a rollout until it ends or a person must decide", Args: atMostOne, ValidArgsFunction: a.rollouts(),
		Long:    "Follow a rollout. It ends with 0 when the rollout succeeded, 4 when it waits for approval, 5 when it was rolled back, 8 when it failed and was not.",
		Example: "covetctl rollout watch\ncovetctl rollout watch r-7 -o json",
		RunE: func(c *cobra.Command, args []string) error {
			port, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			t, err := ask[console.Timeline](c.Context(), a, port, console.GetRollout, console.Query{ID: first(args)})
			if err != nil {
				return err
			}
			var after journal.Seq
			if len(t.Events) > 0 {
				after = t.Events[0].Seq - 1
			}
			return a.follow(c.Context(), port, t.Rollout.ID, after, rollout.Succeeded)
		},
	}
}

func (a *app) rolloutHistory() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "history", Short: "List rollouts, newest first", Args: none, Example: "covetctl rollout history -n 5",
		RunE: func(c *cobra.Command, _ []string) error {
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			all, err := ask[[]rollout.Rollout](c.Context(), a, port, console.GetRollouts, console.Query{Limit: limit})
			if err != nil {
				return err
			}
			return a.show(answer{value: all, names: ids(all, func(r rollout.Rollout) string { return r.ID }), page: func(p *page) { p.history(all) }})
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 20, "how many")
	return c
}

func (p *page) history(all []rollout.Rollout) {
	if len(all) == 0 {
		p.line("No rollout yet: covetctl rollout start VERSION")
		return
	}
	t := p.newTable("ID", "STRATEGY", "FROM", "TO", "STATE", "STARTED", "TOOK", "BY", "WHY")
	for _, r := range all {
		strategy, took, why := string(r.Strategy), "", r.Reason
		if r.Purpose == rollout.Rollback {
			strategy = "rollback"
		}
		if !r.EndedAt.IsZero() {
			took = render.Span(r.EndedAt.Sub(r.StartedAt))
		}
		if r.Message != "" && r.Phase != rollout.Succeeded {
			why = r.Message
		}
		t.Row(r.ID, strategy, orNothing(r.From), r.To, p.phase(r), p.age(r.StartedAt), took, render.Clean(r.By), render.Clean(why))
	}
	p.table(t)
}

func ids[T any](all []T, id func(T) string) []string {
	out := make([]string, 0, len(all))
	for _, v := range all {
		out = append(out, id(v))
	}
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }
