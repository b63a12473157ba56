package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
)

// exit is one of covetctl's exit statuses.
type exit struct {
	code    int
	meaning string
}

// exits documents them all: the help topic and docs/exit-codes.md are made from it.
func exits() []exit {
	return []exit{
		{0, "done"},
		{1, "refused, not found, denied, or covetd's own fault: the message says which"},
		{console.CodeUsage.Exit(), "the command makes no sense as it stands; nothing was done"},
		{console.CodeStalePlan.Exit(), "the plan is out of date: make it again and look at it"},
		{console.CodeWaiting.Exit(), "the rollout waits for approval: covetctl rollout promote"},
		{console.CodeRolledBack.Exit(), "the rollout failed or was aborted, and the old release serves as before; a backup or restore failed, and everything is as it was"},
		{console.CodeUnreachable.Exit(), "covetd, the database or the repository does not answer"},
		{console.CodeLocked.Exit(), "another rollout or restore is under way"},
		{console.CodeNotRolledBack.Exit(), "the rollout failed and was NOT rolled back: people must act; a restore failed halfway, and says what is left"},
		{interruptedExit, "interrupted by Ctrl-C or a signal; what covetd was told to do goes on"},
	}
}

func (a *app) exitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Every command tells by its exit status how it went:\n")
	for _, e := range exits() {
		fmt.Fprintf(&b, "\n  %3d  %s", e.code, e.meaning)
	}
	b.WriteString("\n\nCommands that wait for a rollout (--watch, rollback, attach) end with the status of how the rollout ended.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit statuses mean", Long: b.String(), Args: none,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
}
