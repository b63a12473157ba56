package main

import (
	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show covetctl's version", Args: none,
		Example: "covetctl version\ncovetctl version -o json",
		RunE: func(*cobra.Command, []string) error {
			b := a.parts.build
			return a.show(answer{value: b, names: []string{b.Version}, page: func(p *page) {
				p.line("covetctl %s", b.Version)
				p.field("revision", b.Revision)
				p.field("go", b.Go)
			}})
		},
	}
}
