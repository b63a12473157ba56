package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
)

// logicalKind is that of the attempts by which restores are remembered.
const logicalKind = "logical-restore"

// ended is how a restore ended.
type ended struct{ err error }

// logicalNote says who restores what into what.
func (f *restoreFlags) logicalNote(r *logicalResult) rollout.Restoring {
	what := "everything"
	if names := slices.Concat(f.logical.tables, f.logical.schemas); len(names) > 0 {
		what = strings.Join(names, ", ")
	}
	n := rollout.Restoring{
		Place: r.Plan.Into, Host: restore.ThisHost(), Target: fmt.Sprintf("backup %s: %s of database %s", r.Backup, what, r.Database),
		By: operator(), Began: time.Now(),
	}
	n.ID = restore.NewOperationID(n.Began.UTC())
	if r.Plan.Replaces {
		n.Target += ", replacing what was there"
	}
	if f.withService.reason != "" {
		n.Target += ": " + f.withService.reason
	}
	return n
}

// noteLogical writes into the service's journal, where one can be reached, that a restore begins, and how it ended. The note has
// no record: nobody can go on with it.
func (f *restoreFlags) noteLogical(ctx context.Context, errs io.Writer, n rollout.Restoring, end *ended) {
	n.State = rollout.RestoreRuns
	switch {
	case end == nil:
		n.Step = "begun"
	case end.err != nil:
		n.State, n.Says = rollout.RestoreDropped, "it failed: "+end.err.Error()
	default:
		n.State = rollout.RestoreDone
	}
	f.host.tell(ctx, errs, console.NoteRestore, n, "the restore")
}

// remember keeps in the repository who restored what.
func (f *restoreFlags) remember(ctx context.Context, c backup.Cluster, n rollout.Restoring, failure error) error {
	says := fmt.Sprintf("%s restored into %s from %s", n.By, n.Place, n.Target)
	if failure != nil {
		says += "; it FAILED: " + failure.Error()
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	began := n.Began.UTC()
	return c.SaveAttempt(ctx, c.Service, &backup.Attempt{Kind: logicalKind, Slot: began, Began: began, Ended: time.Now().UTC(), Host: n.Host, OK: failure == nil, Says: says})
}

// historyShown bounds what --history shows.
const historyShown = 50

func (f *restoreFlags) printHistory(cmd *cobra.Command, c backup.Cluster) error {
	done, damaged := c.Attempts(cmd.Context(), c.Service, logicalKind, historyShown)
	if damaged != nil && !errors.Is(damaged, backup.ErrDamaged) {
		return damaged
	}
	return errors.Join(damaged, f.print(cmd.OutOrStdout(), done, func(w io.Writer) error { return printAttempts(w, done) }))
}
