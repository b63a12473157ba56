package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
)

const incidentLong = `An incident is a span of time in which something is wrong. covetd opens them by itself; people declare what it cannot see.

  P0  service down                       any engineer may roll back
  P1  major functionality broken         the on-call lead
  P2  minor issue, there is a workaround the team lead
  P3  cosmetic                           the product owner`

func (a *app) incidentCommand() *cobra.Command {
	return a.group(&cobra.Command{Use: "incident", Short: "Declare, acknowledge and close incidents", Long: incidentLong},
		a.incidentList(), a.incidentShow(), a.incidentOpen(),
		a.incidentAct("ack", "Say that somebody is on it", console.AckIncident, "covetctl incident ack\ncovetctl incident ack i-3 --reason \"rolling back\""),
		a.incidentAct("close", "Say that it is over", console.CloseIncident, "covetctl incident close i-3 --reason \"rolled back to v1.0.0\""))
}

func (a *app) incidentList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List open incidents, newest first", Args: none, Example: "covetctl incident list\ncovetctl incident list --all",
		RunE: func(c *cobra.Command, _ []string) error {
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			list, err := ask[[]health.Incident](c.Context(), a, port, console.GetIncidents, console.Query{})
			if err != nil {
				return err
			}
			if !all {
				list = open(list)
			}
			return a.show(answer{value: list, names: ids(list, func(i health.Incident) string { return i.ID }), page: func(p *page) {
				if len(list) == 0 {
					p.line("%s", p.Mark(render.Good, "no incident is open"))
					return
				}
				p.incidents(list)
			}})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "the closed ones too")
	return c
}

func open(list []health.Incident) []health.Incident {
	out := []health.Incident{}
	for _, i := range list {
		if i.Open() {
			out = append(out, i)
		}
	}
	return out
}

func (p *page) incidents(list []health.Incident) {
	t := p.newTable("INCIDENT", "SEVERITY", "STATE", "OPENED", "DUE", "WHAT", "ACTION")
	for _, i := range list {
		t.Row(i.ID, p.Mark(severityTone(i.Severity), string(i.Severity)), p.incidentState(i), p.age(i.OpenedAt), p.due(i),
			render.Clean(i.Reason), render.Clean(i.Action))
	}
	p.table(t)
}

func (p *page) incidentState(i health.Incident) string {
	switch {
	case !i.Open():
		return p.Mark(render.Good, "closed")
	case !i.AckedAt.IsZero():
		return p.Mark(render.Busy, "acknowledged")
	}
	return p.Mark(render.Warn, "open")
}

func (p *page) due(i health.Incident) string {
	switch {
	case i.Deadline.IsZero() || !i.Open():
		return ""
	case i.Deadline.Before(p.now):
		return p.Paint(render.Bad, "late by "+render.Span(p.now.Sub(i.Deadline)))
	}
	return "in " + render.Span(i.Deadline.Sub(p.now))
}

func (a *app) incidentShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [ID]", Short: "Show an incident with its evidence", Args: atMostOne, ValidArgsFunction: a.incidents(),
		Long:    "Show an incident with its evidence: the one named, or else the worst that is open.",
		Example: "covetctl incident show\ncovetctl incident show i-3",
		RunE: func(c *cobra.Command, args []string) error {
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			i, err := ask[health.Incident](c.Context(), a, port, console.GetIncident, console.Query{ID: first(args)})
			if err != nil {
				return err
			}
			return a.showIncident(i)
		},
	}
}

func (a *app) showIncident(i health.Incident) error {
	return a.show(answer{value: i, names: []string{i.ID}, page: func(p *page) { p.incident(i) }})
}

func (p *page) incident(i health.Incident) {
	p.line("%s %s %s  %s", p.Strong(i.ID), p.Mark(severityTone(i.Severity), string(i.Severity)), p.incidentState(i), render.Clean(i.Reason))
	p.field("release", i.Release)
	p.field("rollout", i.Rollout)
	p.field("action", render.Clean(i.Action))
	p.field("approver", render.Clean(i.Approver))
	p.field("due", p.due(i))
	p.field("opened", p.age(i.OpenedAt)+" by "+render.Clean(i.OpenedBy))
	if !i.AckedAt.IsZero() {
		p.field("acknowledged", p.age(i.AckedAt)+" by "+render.Clean(i.AckedBy))
	}
	if !i.ClosedAt.IsZero() {
		p.field("closed", p.age(i.ClosedAt)+" by "+render.Clean(i.ClosedBy))
	}
	p.field("note", render.Clean(i.Note))
	if len(i.Rows) == 0 {
		return
	}
	p.line("")
	t := p.newTable("EVIDENCE", "SIGNAL", ">VALUE", ">LIMIT", "SEVERITY")
	for _, r := range i.Rows {
		severity := ""
		if r.Severity != health.None {
			severity = p.Mark(severityTone(r.Severity), string(r.Severity))
		}
		t.Row(r.Arm, render.Clean(r.Signal), r.Value, r.Limit, severity)
	}
	p.table(t)
}

func (a *app) incidentOpen() *cobra.Command {
	var severity string
	var in console.IncidentRequest
	c := &cobra.Command{
		Use: "open", Short: "Declare an incident that covetd cannot see", Args: none,
		Example: `covetctl incident open --severity P1 --reason "checkout shows the wrong price"`,
		RunE: func(c *cobra.Command, _ []string) error {
			in.Severity = health.Severity(strings.ToUpper(severity))
			if in.Severity.Rank() == 0 || strings.TrimSpace(in.Reason) == "" {
				e := usage("an incident needs --severity P0, P1, P2 or P3, and --reason")
				e.Hint = `for example: covetctl incident open --severity P1 --reason "checkout shows the wrong price"`
				return e
			}
			return a.incidentDo(c, console.OpenIncident, in)
		},
	}
	c.Flags().StringVar(&severity, "severity", "", "P0, P1, P2 or P3")
	c.Flags().StringVar(&in.Reason, "reason", "", "what is wrong")
	must(c.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]string{
		"P0\tservice down", "P1\tmajor functionality broken", "P2\tminor issue, there is a workaround", "P3\tcosmetic",
	}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

func (a *app) incidentAct(name, short string, op console.Op, example string) *cobra.Command {
	var in console.Target
	c := &cobra.Command{
		Use: name + " [ID]", Short: short, Long: short + ": of the incident named, or else of the worst that is open.",
		Example: example, Args: atMostOne, ValidArgsFunction: a.incidents(),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = first(args)
			return a.incidentDo(c, op, in)
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "what is to be remembered of it")
	return c
}

func (a *app) incidentDo(c *cobra.Command, op console.Op, in any) error {
	port, err := a.connect(c.Context())
	if err != nil {
		return err
	}
	i, err := command[health.Incident](c.Context(), a, port, op, in)
	if err != nil {
		return err
	}
	return a.showIncident(i)
}
