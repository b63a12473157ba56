package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

const attachLong = `Follow everything that happens, from the beginning of the rollout under way or from the event after --after.

It ends when the rollout does, with an exit status that says how; at once when none is under way; never with -f.`

func (a *app) attachCommand() *cobra.Command {
	var after uint64
	var follow bool
	c := &cobra.Command{
		Use: "attach", Short: "Follow what is under way", Long: attachLong, Args: none,
		Example: "covetctl attach\ncovetctl attach -f\ncovetctl attach --after 120 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			at := &attachment{app: a, endless: follow}
			if c.Flags().Changed("after") {
				seq := journal.Seq(after)
				at.from = &seq
			}
			return at.run(c.Context())
		},
	}
	c.Flags().Uint64Var(&after, "after", 0, "begin with the event after this one")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "never end")
	return c
}

// attachment follows everything, whatever it is about.
type attachment struct {
	app     *app
	endless bool
	from    *journal.Seq // nil: from the beginning of the rollout under way

	active string // the rollout under way
	live   *liveLine
}

func (at *attachment) run(ctx context.Context) error {
	a := at.app
	port, err := a.connect(ctx)
	if err != nil {
		return err
	}
	after, err := at.start(ctx, port)
	if err != nil {
		return err
	}
	s := &stream{app: a, port: port, after: after, take: at.take, before: at.clear}
	if a.human() && a.terminal(a.out) && !a.flags.quiet {
		at.live = &liveLine{w: a.out, columns: a.columns}
	}
	err = s.run(ctx)
	if cerr := at.clear(); cerr != nil {
		return cerr
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return &interrupted{message: "stopped following; what is under way goes on", hint: "covetctl attach takes it up again"}
	}
	return err
}

// start is the number of the event before the first one to show.
func (at *attachment) start(ctx context.Context, port console.Port) (journal.Seq, error) {
	if at.from != nil {
		return *at.from, nil
	}
	st, err := ask[console.Status](ctx, at.app, port, console.GetStatus, console.Query{})
	if err != nil || st.Rollout == nil {
		return st.Seq, err
	}
	t, err := ask[console.Timeline](ctx, at.app, port, console.GetRollout, console.Query{ID: st.Rollout.ID})
	if err != nil || len(t.Events) == 0 {
		return st.Seq, err
	}
	return t.Events[0].Seq - 1, nil
}

func (at *attachment) clear() error {
	if at.live == nil {
		return nil
	}
	return at.live.clear()
}

func (at *attachment) take(u console.Update) (bool, error) {
	switch {
	case u.Event != nil:
		if err := at.clear(); err != nil {
			return true, err
		}
		return false, at.app.event(*u.Event, "")
	case !at.app.human():
		if err := at.app.emit(u); err != nil {
			return true, err
		}
	}
	if u.Status != nil {
		return at.status(*u.Status)
	}
	return false, nil
}

// status notices that what was under way has ended.
func (at *attachment) status(st console.Status) (bool, error) {
	if r := st.Rollout; r != nil {
		at.active = r.ID
		if at.live == nil {
			return false, nil
		}
		p := at.app.page()
		return false, at.live.draw(p.progress(*r, st.At))
	}
	if at.endless {
		return false, at.clear()
	}
	if at.active == "" {
		return true, at.app.note(render.Idle, "nothing is under way (covetctl attach -f waits for it)")
	}
	last := st.Last
	if last == nil {
		return true, nil
	}
	return true, outcome(last.ID, last.Phase, last.Message, rollout.Succeeded)
}
