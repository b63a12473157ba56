package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgctl"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// drillFlags are those of restore drill.
type drillFlags struct {
	repoFlags
	output
	targetFlags
	backup, dir, owner, pgBin, user, database string
	checksFile                                string
	checks                                    []string
	keep, list                                bool
}

func drillCommand() *cobra.Command {
	var f drillFlags
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Try a restore out, check it, time it and throw it away",
		Long: `Restore into a scratch folder, start PostgreSQL there without a network, check it, measure how long it took, and remove it.

Checked are all databases, all B-tree indexes where amcheck is installed, and the queries of --check and --checks. The result is kept in
the repository; --list shows the earlier ones. The scratch server never archives. Exits with 5 where a check fails.`,
		Example: `  covetctl restore drill
  covetctl restore drill --dir /srv/scratch --check "SELECT count(*) > 1000 FROM orders" --database shop
  covetctl restore drill --list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	f.repoFlags.addPatient(cmd)
	f.addSystem(cmd)
	f.output.add(cmd)
	f.targetFlags.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.backup, "backup", "", "ID of the backup to start from; default the best for the target")
	fs.StringVar(&f.dir, "dir", cmp.Or(os.Getenv("BACKUP_DRILL_DIR"), os.TempDir()), "where to make the scratch folder; it needs room for the whole database (BACKUP_DRILL_DIR)")
	fs.StringArrayVar(&f.checks, "check", nil, "query that must answer true (repeatable)")
	fs.StringVar(&f.checksFile, "checks", os.Getenv("BACKUP_DRILL_CHECKS"), "file of such queries, ended by semicolons, or one a line (BACKUP_DRILL_CHECKS)")
	fs.StringVar(&f.database, "database", cmp.Or(os.Getenv("BACKUP_DRILL_DATABASE"), "postgres"), "database to ask the queries in (BACKUP_DRILL_DATABASE)")
	fs.StringVar(&f.user, "user", "postgres", "role to ask them as")
	fs.StringVar(&f.owner, "owner", "postgres", "user who runs the scratch server, where this runs as root")
	fs.StringVar(&f.pgBin, "pg-bin", "", "folder of PostgreSQL's binaries; default found by the version")
	fs.BoolVar(&f.keep, "keep", false, "leave the scratch folder, and the server running")
	fs.BoolVar(&f.list, "list", false, "show the results of earlier drills instead")
	completeFlagBackups(cmd, "backup", &f.repoFlags, new(bool))
	return cmd
}

func (f *drillFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	results := []backup.DrillResult{}
	var damaged error
	if f.list {
		if results, damaged = c.Drills(ctx); damaged != nil && !errors.Is(damaged, backup.ErrDamaged) {
			return damaged
		}
	} else {
		d, err := f.drill(ctx, c, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		results = append(results, *d)
	}
	if err := f.print(cmd.OutOrStdout(), results, func(w io.Writer) error { return printDrills(w, results) }); err != nil || damaged != nil {
		return errors.Join(err, damaged)
	}
	if !f.list && !results[0].Passed() {
		return errors.New("the drill failed: see the checks above")
	}
	return nil
}

// drill makes one and saves its result.
func (f *drillFlags) drill(ctx context.Context, c backup.Cluster, progress io.Writer) (d *backup.DrillResult, err error) {
	target, err := f.target()
	if err != nil {
		return nil, err
	}
	more, err := readChecks(f.checksFile)
	if err != nil {
		return nil, err
	}
	f.checks = append(f.checks, more...)
	plan, err := makePlan(ctx, c, target, f.backup)
	if err != nil {
		return nil, err
	}
	m, err := c.Manifest(ctx, plan.Backup.ID)
	if err != nil {
		return nil, err
	}
	s, err := f.scratch(m)
	if err != nil {
		return nil, err
	}
	if f.keep {
		_, _ = fmt.Fprintln(progress, "the scratch server stays in", s.root) // said for convenience
	} else {
		defer func() { err = errors.Join(err, s.remove(context.WithoutCancel(ctx))) }()
	}
	if err := s.sweep(ctx); err != nil {
		_, _ = fmt.Fprintln(progress, "warning: what a drill that died has left could not be removed:", err)
	}
	d = &backup.DrillResult{Backup: m.ID, Began: time.Now().UTC()}
	if plan.Reaches != nil {
		d.Point = plan.Reaches.Time
	}
	warn := func(err error) { _, _ = fmt.Fprintln(progress, "warning:", err) }
	if _, err := guard(ctx, c, m.ID, 0, warn, func() error { return f.recover(ctx, c, m, plan, target, s, d, f.progress(progress)) }); err != nil {
		return nil, err
	}
	d.Checks, err = pgctl.CheckServer(ctx, pgctl.CheckOptions{Socket: s.root, User: f.user, Queries: f.checks, Database: f.database})
	if err != nil {
		return nil, err
	}
	return d, c.SaveDrill(ctx, d)
}

// readChecks reads a file of queries.
func readChecks(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("the file of checks cannot be read: %w", err))
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			kept = append(kept, line)
		}
	}
	all, by := strings.Join(kept, ""), "\n"
	if strings.Contains(all, ";") {
		by = ";"
	}
	var out []string
	for q := range strings.SplitSeq(all, by) {
		if q = strings.TrimSpace(q); q != "" {
			out = append(out, q)
		}
	}
	if len(out) == 0 {
		return nil, usage(fmt.Errorf("%s holds no query", path))
	}
	return out, nil
}

// recover copies, starts and waits.
func (f *drillFlags) recover(ctx context.Context, c backup.Cluster, m *backup.Manifest, plan *restore.Plan, t restore.Target, s *scratch, d *backup.DrillResult, report func(backup.Progress)) error {
	_, err := restore.Copy{Cluster: c, Manifest: m, Dir: s.server.Dir, Locations: s.spaces, Owner: s.owner, Report: report}.Run(ctx)
	if err != nil {
		return err
	}
	d.Copied = backup.Elapsed(time.Since(d.Began))
	command, err := f.restoreCommand(c.System)
	if err != nil {
		return err
	}
	settings := restore.Settings(t, restore.Recovery{Timeline: plan.Timeline, RestoreCommand: command, Action: restore.Promote, ArchiveOff: true})
	if err := restore.Configure(s.server.Dir, settings, s.owner); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if _, err := s.server.Wait(ctx, func(pgctl.State) {}); err != nil {
		return err
	}
	d.Recovery = backup.Elapsed(time.Since(d.Began))
	return nil
}

func printDrills(w io.Writer, ds []backup.DrillResult) error {
	var lines [][]string
	for _, d := range ds {
		state := "passed"
		if !d.Passed() {
			state = "FAILED"
		}
		var says []string
		for _, c := range d.Checks {
			if !c.OK || len(ds) == 1 {
				says = append(says, c.What+": "+c.Says)
			}
		}
		lines = append(lines, []string{d.ID, d.Backup, state, d.Recovery.String(), when(d.Point), strings.Join(says, "; ")})
	}
	return rows(w, []string{"DRILL", "BACKUP", "STATE", "RECOVERY TIME", "RECOVERY POINT", "CHECKS"}, lines)
}
