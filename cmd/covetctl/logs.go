package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
)

func (a *app) logsCommand() *cobra.Command {
	var q console.LogQuery
	c := &cobra.Command{
		Use: "logs", Short: "Show what the instances write", Args: none,
		Long: "Show the newest lines that instances wrote, of all releases or of one. With -f it goes on with those they write from " +
			"then on, and outlives a restart of covetd. When covetd is down it shows what they wrote until then.",
		Example: "covetctl logs -f\ncovetctl logs --release v1.2.0 -n 500\ncovetctl logs --instance v1.2.0-3 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Lines < 0 {
				return usage("-n %d: give a number of lines", q.Lines)
			}
			port, offline, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			if offline && q.Follow {
				return a.meant(c.Context(), port, q.Release, a.logsOnce(c.Context(), port, &q, &stream{app: a}))
			}
			return a.meant(c.Context(), port, q.Release, a.logs(c.Context(), port, q))
		},
	}
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with new lines")
	c.Flags().StringVar(&q.Release, "release", "", "only of this version")
	c.Flags().StringVar(&q.Instance, "instance", "", "only of this instance")
	c.Flags().IntVarP(&q.Lines, "lines", "n", 100, "how many past lines")
	completeFlag(c, "release", a.versions())
	return c
}

// logs shows the lines. Whoever follows them wants to see covetd come back: a stream that breaks is taken up again.
func (a *app) logs(ctx context.Context, port console.Port, q console.LogQuery) error {
	s := &stream{app: a}
	for {
		err := a.logsOnce(ctx, port, &q, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !q.Follow || err != nil && !s.lost(err):
			return err
		}
		if err := s.losing(err); err != nil {
			return err
		}
		select {
		case <-a.wait():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logsOnce shows the lines of one connection, and leaves in q where the next one goes on.
func (a *app) logsOnce(ctx context.Context, port console.Port, q *console.LogQuery, s *stream) error {
	for line, err := range port.Logs(ctx, *q) {
		if err != nil {
			return err
		}
		if err := s.found("the line above"); err != nil {
			return err
		}
		q.After, q.Lines = max(q.After, line.Seq), 0
		if err := a.logLine(line); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) logLine(l console.LogLine) error {
	if !a.human() {
		return a.emit(l)
	}
	p := a.page()
	tone := render.Plain
	if l.Stream == "stderr" {
		tone = render.Warn
	}
	p.line("%s %s %s", p.Paint(render.Idle, l.At.Local().Format("15:04:05.000")), p.Paint(render.Busy, l.Instance), p.Paint(tone, render.Clean(l.Text)))
	return p.flush(a.out)
}
