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
			"then on. When covetd is down it shows what they wrote until then.",
		Example: "covetctl logs -f\ncovetctl logs --release v1.2.0 -n 500\ncovetctl logs --instance v1.2.0-3 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Lines < 0 {
				return usage("-n %d: give a number of lines", q.Lines)
			}
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
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

func (a *app) logs(ctx context.Context, port console.Port, q console.LogQuery) error {
	for line, err := range port.Logs(ctx, q) {
		if err != nil {
			return err
		}
		if err := a.logLine(line); err != nil {
			return err
		}
	}
	return ctx.Err()
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
