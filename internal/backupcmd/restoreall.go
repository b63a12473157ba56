package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgdump"
	"github.com/covetpy/covet/ops/backup"
)

// dumpRestore is the restore of one of several databases.
type dumpRestore struct {
	out *logicalResult
	job pgdump.Job
}

// runAllLogical restores every database of a logical backup. All are planned before the first is touched; each happens whole or
// not at all, and those before one that fails stay.
func (f *restoreFlags) runAllLogical(ctx context.Context, cmd *cobra.Command, c backup.Cluster) error {
	all, err := f.planAllLogical(ctx, c)
	if err != nil {
		return err
	}
	if !f.plan {
		if err := f.doAllLogical(ctx, cmd.ErrOrStderr(), c, all); err != nil {
			return err
		}
	}
	var out []*logicalResult
	for _, r := range all {
		out = append(out, r.out)
	}
	return f.print(cmd.OutOrStdout(), out, func(w io.Writer) error {
		for i, r := range out {
			if i > 0 {
				if _, err := fmt.Fprintln(w); err != nil {
					return err
				}
			}
			if err := r.table(w); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *restoreFlags) planAllLogical(ctx context.Context, c backup.Cluster) ([]dumpRestore, error) {
	dumps := c.LogicalBackups()
	if f.backup == "" {
		var err error
		if f.backup, err = f.newestDump(ctx, dumps); err != nil {
			return nil, err
		}
	}
	m, err := dumps.Manifest(ctx, f.backup)
	if errors.Is(err, backup.ErrNotFound) {
		return nil, fmt.Errorf("there is no logical backup %s of %s in %s: see covetctl backup list", f.backup, c.Service, c.Where)
	}
	if err != nil {
		return nil, err
	}
	var all []dumpRestore
	for n, d := range m.Logical.Databases {
		stored, err := pgdump.Open(ctx, dumps, m, n, f.workers)
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", d.Name, err)
		}
		f.logical.toDatabase = d.Name
		job, err := f.planLogical(ctx, stored)
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", d.Name, err)
		}
		all = append(all, dumpRestore{&logicalResult{Backup: m.ID, Dumped: m.Started, Database: d.Name, Plan: job.Plan}, job})
	}
	return all, nil
}

func (f *restoreFlags) doAllLogical(ctx context.Context, errs io.Writer, c backup.Cluster, all []dumpRestore) error {
	if s := f.withService; s.confirm != "" && f.logical.replace {
		return usage(errors.New("--confirm names one database: with --all-databases say --yes"))
	}
	for _, r := range all {
		if err := f.allowLogical(r.job); err != nil {
			return err
		}
	}
	if err := f.globals(ctx, errs, all[0].job); err != nil {
		return err
	}
	var done []string
	for _, r := range all {
		if err := f.undump(ctx, errs, c, r.out, r.job); err != nil {
			err = fmt.Errorf("database %s: %w", r.out.Database, err)
			if len(done) > 0 {
				err = halfDone(fmt.Errorf("%w (restored before it, and left as they are: %s)", err, strings.Join(done, ", ")))
			}
			return err
		}
		done = append(done, r.out.Database)
	}
	return nil
}
