package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

func (a *app) auditCommand() *cobra.Command {
	var limit int
	var before uint64
	c := &cobra.Command{
		Use: "audit", Short: "Show who did what, and when", Args: none,
		Long:    "Show the newest events of the journal, the latest at the bottom: everything that was done, by whom, and what was refused.",
		Example: "covetctl audit\ncovetctl audit -n 500 -o json\ncovetctl audit --before 120",
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return usage("-n %d: give a number of entries", limit)
			}
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			list, err := ask[[]console.AuditEntry](c.Context(), a, port, console.GetAudit, console.Query{Limit: limit, Before: journal.Seq(before)})
			if err != nil {
				return err
			}
			return a.show(answer{value: list, names: ids(list, func(e console.AuditEntry) string { return itoa(int(e.Seq)) }), page: func(p *page) { p.audit(list) }})
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 50, "how many")
	c.Flags().Uint64Var(&before, "before", 0, "only those before the event with this number")
	return c
}

func (p *page) audit(list []console.AuditEntry) {
	t := p.newTable(">SEQ", "TIME", "WHO", "WHAT")
	for _, e := range slices.Backward(list) {
		t.Row(itoa(int(e.Seq)), e.At.Local().Format("2006-01-02 15:04:05"), render.Clean(e.By), p.Paint(kindTone(e.Kind), render.Clean(e.Text)))
	}
	p.table(t)
}
