package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
)

// removalKind is that of the attempts by which it is remembered who removed what. What covetd and cron did by schedule is among
// those of recovery.Expire.
const removalKind = "expire-by-hand"

// note keeps who had what removed: in the repository, whose backups are fewer now, and in the service's journal, where one can be
// reached. Where nothing was removed there is nothing to tell.
func (f *expireFlags) note(cmd *cobra.Command, c backup.Cluster, began time.Time, e *backup.Expiry, failure error) error {
	r := recovery.Removal{Repository: c.Where, Rules: f.rules(cmd), Host: restore.ThisHost()}
	ctx, stop := context.WithTimeout(context.WithoutCancel(cmd.Context()), 30*time.Second)
	defer stop()
	if failure != nil {
		r.Failure = failure.Error()
		r.Backups = gone(ctx, c, e)
	} else {
		r.WAL, r.Bytes = e.WAL, e.PackBytes+e.WALBytes
		for _, d := range e.Decisions {
			if !d.Keep {
				r.Backups = append(r.Backups, d.Head.ID)
			}
		}
		r.Kept = len(e.Decisions) - len(r.Backups)
		if e.Nothing() {
			return nil
		}
	}
	f.host.tell(ctx, cmd.ErrOrStderr(), console.NoteRemoval, r, "what was removed")
	began = began.UTC()
	err := c.SaveAttempt(ctx, c.Service, &backup.Attempt{
		Kind: removalKind, Slot: began, Began: began, Ended: time.Now().UTC(), Host: r.Host, OK: failure == nil, Says: operator() + ": " + r.Describe(),
	})
	if err == nil {
		err = c.PruneAttempts(ctx, c.Service, removalKind, began)
	}
	if err != nil {
		return fmt.Errorf("it could not be kept who removed what: %w", err)
	}
	return nil
}

// gone are the backups of those that were to go that are no longer in the repository; nil where that can't be known.
func gone(ctx context.Context, c backup.Cluster, e *backup.Expiry) []string {
	out := []string{}
	if e == nil {
		return out // it ended before anything was decided
	}
	there := map[string]bool{}
	for _, c := range []backup.Cluster{c, c.LogicalBackups()} {
		heads, err := c.Backups(ctx)
		if err != nil {
			return nil
		}
		for _, h := range heads {
			there[h.ID] = true
		}
	}
	for _, d := range e.Decisions {
		if !d.Keep && !there[d.Head.ID] {
			out = append(out, d.Head.ID)
		}
	}
	return out
}

// rules are what was to stay, as the command line says it.
func (f *expireFlags) rules(cmd *cobra.Command) string {
	var out []string
	cmd.Flags().Visit(func(g *pflag.Flag) {
		if g.Name == "window" || strings.HasPrefix(g.Name, "keep") {
			out = append(out, "--"+g.Name+" "+g.Value.String())
		}
	})
	return cmp.Or(strings.Join(out, " "), "the configuration's rules")
}

// printHistory shows who removed what, whether by hand or by schedule, the newest last.
func (f *expireFlags) printHistory(cmd *cobra.Command, c backup.Cluster) error {
	all := []backup.Attempt{}
	var damage error
	for _, kind := range []string{removalKind, string(recovery.Expire)} {
		some, damaged := c.Attempts(cmd.Context(), c.Service, kind, historyShown)
		if damaged != nil && !errors.Is(damaged, backup.ErrDamaged) {
			return damaged
		}
		all, damage = append(all, some...), errors.Join(damage, damaged)
	}
	slices.SortFunc(all, func(a, b backup.Attempt) int { return a.Began.Compare(b.Began) })
	return errors.Join(damage, f.print(cmd.OutOrStdout(), all, func(w io.Writer) error { return printAttempts(w, all) }))
}

// printAttempts shows what was done, when and where.
func printAttempts(w io.Writer, all []backup.Attempt) error {
	var lines [][]string
	for _, a := range all {
		lines = append(lines, []string{when(a.Began), a.Ended.Sub(a.Began).Round(time.Second).String(), a.Host, a.Says})
	}
	return rows(w, []string{"BEGAN", "TOOK", "HOST", "WHAT"}, lines)
}
