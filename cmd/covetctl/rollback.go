package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

const rollbackLong = `Go back: undo the rollout under way, or return to the release before, or to the one named.

It waits for the end and shows how it goes, unless told to --detach. When covetd is down it writes what is to be into
covetd's journal: the next start serves the old release.`

func (a *app) rollbackCommand() *cobra.Command {
	var in console.RollbackRequest
	var detach bool
	c := &cobra.Command{
		Use: "rollback [VERSION]", Short: "Go back to the release before, or to a named one", Long: rollbackLong,
		Args: atMostOne, ValidArgsFunction: a.versions(),
		Example: `covetctl rollback
covetctl rollback --to v1.0.0 --reason "checkout answers 500"
covetctl rollback --plan`,
		RunE: func(c *cobra.Command, args []string) error {
			if named := first(args); named != "" {
				if in.To != "" && in.To != named {
					return usage("rollback to %s or to %s? name one version", named, in.To)
				}
				in.To = named
			}
			return a.rollback(c.Context(), in, detach)
		},
	}
	c.Flags().StringVar(&in.To, "to", "", "the version to go back to (default the one before)")
	c.Flags().BoolVar(&in.Force, "force", false, "even though the release is quarantined")
	c.Flags().BoolVar(&detach, "detach", false, "return as soon as it is accepted")
	commonFlags(c, &in.Common)
	completeFlag(c, "to", a.versions())
	return c
}

func (a *app) rollback(ctx context.Context, in console.RollbackRequest, detach bool) error {
	port, offline, err := a.connectAnyhow(ctx)
	if err != nil {
		return err
	}
	err = a.act(ctx, port, console.Rollback, in, in.Plan, !detach && !offline, rollbackGoal(in.To))
	return a.meant(ctx, port, in.To, err)
}

// rollbackGoal is how the rollout that a rollback was answered with is to end: one that leads to the old release succeeds,
// be it new or under way already; another that was under way is undone.
func rollbackGoal(to string) func(rollout.Rollout) rollout.Phase {
	return func(r rollout.Rollout) rollout.Phase {
		joined := r.Purpose == rollout.Rollback && r.Phase != rollout.Aborting && (to == "" || to == r.To)
		if r.StartedAt.IsZero() || joined {
			return rollout.Succeeded
		}
		return rollout.RolledBack
	}
}
