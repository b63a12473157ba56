package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

func (a *app) instancesCommand() *cobra.Command {
	var release string
	c := &cobra.Command{
		Use: "instances", Short: "Show every running copy of every release", Args: none,
		Long:    "Show every running copy of every release: its state, why it is not ready, and what it does and uses.",
		Example: "covetctl instances\ncovetctl instances --release v1.2.0\ncovetctl instances -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			port, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			list, err := ask[[]rollout.Instance](c.Context(), a, port, console.GetInstances, console.Query{})
			if err != nil {
				return err
			}
			shown := []rollout.Instance{}
			for _, i := range list {
				if release == "" || i.Release == release {
					shown = append(shown, i)
				}
			}
			return a.show(answer{value: shown, names: ids(shown, func(i rollout.Instance) string { return i.ID }), page: func(p *page) { p.instances(shown) }})
		},
	}
	c.Flags().StringVar(&release, "release", "", "only of this release")
	return c
}

func (p *page) instances(list []rollout.Instance) {
	if !slices.ContainsFunc(list, func(i rollout.Instance) bool { return i.PID > 0 }) {
		p.pods(list)
		return
	}
	t := p.newTable("INSTANCE", "STATE", ">PID", ">RST", ">REQ/S", ">ERR", ">P95", ">CPU", ">MEMORY", "REASON")
	for _, i := range list {
		t.Row(i.ID, p.Mark(instanceTone(i.State), string(i.State)), itoa(i.PID), itoa(i.Restarts), render.Rate(i.RequestRate),
			render.Percent(i.ErrorRate), render.Millis(i.P95), fmt.Sprintf("%.2f", i.CPU), render.Bytes(i.RSS), render.Clean(i.Reason))
	}
	p.table(t)
}

// pods shows instances that are no processes of this machine: what they use is not known.
func (p *page) pods(list []rollout.Instance) {
	t := p.newTable("INSTANCE", "RELEASE", "STATE", ">RST", "SINCE", "REASON")
	for _, i := range list {
		since := ""
		if !i.Since.IsZero() {
			since = p.age(i.Since)
		}
		t.Row(i.ID, i.Release, p.Mark(instanceTone(i.State), string(i.State)), itoa(i.Restarts), since, render.Clean(i.Reason))
	}
	p.table(t)
}

func instanceTone(s rollout.InstanceState) render.Tone {
	switch s {
	case rollout.Ready:
		return render.Good
	case rollout.BackOff, rollout.Unready:
		return render.Bad
	}
	return render.Idle
}
