package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgdump"
	"github.com/covetpy/covet/ops/backup"
)

// undumpFlags are those of restoring a logical backup.
type undumpFlags struct {
	on, list, replace, globals, all  bool
	noOwner, noPrivileges, history   bool
	database, into, toDatabase, temp string
	tables, schemas                  []string
	jobs                             int
}

func (f *undumpFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.on, "logical", false, "restore from a logical backup, with pg_restore, into a running server")
	fs.StringVar(&f.database, "database", "", "with --logical: which of the dumped databases, where there are several")
	fs.BoolVar(&f.all, "all-databases", false, "with --logical: every database of the backup, each into the one of its name on the server of --into")
	fs.StringArrayVar(&f.tables, "table", nil, "with --logical: only this table, view or sequence, with what is its own: NAME or SCHEMA.NAME, with wildcards (repeatable)")
	fs.StringArrayVar(&f.schemas, "schema", nil, "with --logical: only what is in this schema (repeatable)")
	fs.StringVar(&f.into, "into", cmp.Or(os.Getenv("BACKUP_DATABASE_URL"), os.Getenv("DATABASE_URL")), "with --logical: server, and the database to restore into (BACKUP_DATABASE_URL, DATABASE_URL)")
	fs.StringVar(&f.toDatabase, "to-database", "", "with --logical: database to restore into on that server; made where it isn't there")
	fs.BoolVar(&f.list, "list", false, "with --logical: show what the backup has, and restore nothing")
	fs.BoolVar(&f.replace, "replace", false, "with --logical: drop what is in the way, and restore it anew")
	fs.BoolVar(&f.globals, "globals", false, "with --logical: make the roles and tablespaces first that aren't there")
	fs.BoolVar(&f.noOwner, "no-owner", false, "with --logical: everything belongs to whoever restores")
	fs.BoolVar(&f.noPrivileges, "no-privileges", false, "with --logical: grant nothing")
	fs.BoolVar(&f.history, "history", false, "with --logical: show who restored what, and when")
	fs.IntVar(&f.jobs, "jobs", 1, "with --logical: how many connections restore at once; more than 1 need room for the dump in --temp-dir, and what they did stays when one fails")
	fs.StringVar(&f.temp, "temp-dir", os.TempDir(), "with --logical --jobs: folder for the dump")
}

// undumpOnly are the flags that say nothing without --logical; clusterOnly those that say nothing with it.
var (
	undumpOnly  = []string{"database", "all-databases", "table", "schema", "into", "to-database", "list", "replace", "globals", "no-owner", "no-privileges", "history", "jobs", "temp-dir"}
	clusterOnly = []string{"to", "delta", "start", "action", "archive", "tablespace", "owner", "pg-options", "target-time", "target-lsn", "target-xid", "target-name", "immediate", "exclusive", "timeline", "with-service", "release", "accept-loss", "check", "check-database", "check-user", "state-dir"}
)

func (f *undumpFlags) checkKind(given func(string) bool) error {
	for _, name := range clusterOnly {
		if f.on && given(name) {
			return usage(fmt.Errorf("--%s is of restores of a whole cluster to a point in time: a logical backup is of one moment, and goes into a running server with --into or --to-database", name))
		}
	}
	for _, name := range undumpOnly {
		if !f.on && given(name) {
			return usage(fmt.Errorf("--%s needs --logical", name))
		}
	}
	if f.all && (f.database != "" || f.toDatabase != "" || f.list || len(f.tables)+len(f.schemas) > 0) {
		return usage(errors.New("--all-databases restores each whole, into the database of its name: leave --database, --to-database, --table, --schema and --list out"))
	}
	if f.jobs < 1 {
		return usage(fmt.Errorf("--jobs %d: at least 1", f.jobs))
	}
	return nil
}

// logicalResult is what a restore of a logical backup prints.
type logicalResult struct {
	Backup   string       `json:"backup"`
	Dumped   time.Time    `json:"dumped"`
	Database string       `json:"database"`
	Plan     *pgdump.Plan `json:"plan"`
	Done     bool         `json:"done"`
	Took     string       `json:"took,omitempty"`
}

// runLogical restores from a logical backup.
func (f *restoreFlags) runLogical(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	ctx, stop := goOn(cmd.Context())
	defer stop()
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	if f.logical.history {
		return f.printHistory(cmd, c)
	}
	if f.logical.all {
		return f.runAllLogical(ctx, cmd, c)
	}
	stored, n, err := f.openDump(ctx, c)
	if err != nil {
		return err
	}
	if f.logical.list {
		return f.printContents(cmd, stored, n)
	}
	job, err := f.planLogical(ctx, stored)
	if err != nil {
		return err
	}
	m := stored.Manifest
	out := &logicalResult{Backup: m.ID, Dumped: m.Started, Database: m.Logical.Databases[n].Name, Plan: job.Plan}
	if f.plan {
		return f.print(cmd.OutOrStdout(), out, out.table)
	}
	if err := f.allowLogical(job); err != nil {
		return err
	}
	if err := f.globals(ctx, cmd.ErrOrStderr(), job); err != nil {
		return err
	}
	if err := f.undump(ctx, cmd.ErrOrStderr(), c, out, job); err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), out, out.table)
}

// openDump finds the backup and the database in it.
func (f *restoreFlags) openDump(ctx context.Context, c backup.Cluster) (s *pgdump.Stored, n int, err error) {
	dumps := c.LogicalBackups()
	id := f.backup
	if id == "" {
		if id, err = f.newestDump(ctx, dumps); err != nil {
			return nil, 0, err
		}
	}
	m, err := dumps.Manifest(ctx, id)
	if errors.Is(err, backup.ErrNotFound) {
		return nil, 0, fmt.Errorf("there is no logical backup %s of %s in %s: see covetctl backup list", id, c.Service, c.Where)
	}
	if err != nil {
		return nil, 0, err
	}
	var names []string
	n = -1
	for i, d := range m.Logical.Databases {
		names = append(names, d.Name)
		if d.Name == f.logical.database || f.logical.database == "" && len(m.Logical.Databases) == 1 {
			n = i
		}
	}
	switch {
	case n < 0 && f.logical.database == "":
		return nil, 0, usage(fmt.Errorf("backup %s has several databases: choose with --database one of %s", id, strings.Join(names, ", ")))
	case n < 0:
		return nil, 0, usage(fmt.Errorf("backup %s has no database %s: it has %s", id, f.logical.database, strings.Join(names, ", ")))
	}
	s, err = pgdump.Open(ctx, dumps, m, n, f.workers)
	return s, n, err
}

// newestDump is the newest logical backup that has the database, whole where no table is asked for.
func (f *restoreFlags) newestDump(ctx context.Context, dumps backup.Cluster) (string, error) {
	heads, err := dumps.Backups(ctx)
	if err != nil && !errors.Is(err, backup.ErrDamaged) {
		return "", err
	}
	partial := ""
	for _, h := range slices.Backward(heads) {
		if f.logical.all && !h.Logical.Globals {
			continue
		}
		if f.logical.database != "" && !slices.ContainsFunc(h.Logical.Databases, func(d backup.Dumped) bool { return d.Name == f.logical.database }) {
			continue
		}
		if len(h.Logical.Filters) == 0 {
			return h.ID, nil
		}
		partial = cmp.Or(partial, h.ID)
	}
	if partial != "" {
		return "", fmt.Errorf("there are only logical backups of some tables, such as %s: name one with --backup", partial)
	}
	of, how := "", ""
	switch {
	case f.logical.all:
		of, how = " of all databases", " --all-databases"
	case f.logical.database != "":
		of = " of database " + f.logical.database
	}
	return "", errors.Join(err, fmt.Errorf("there is no logical backup%s in %s: make one with covetctl backup run --logical%s", of, dumps.Where, how))
}

// planLogical works out what will be done.
func (f *restoreFlags) planLogical(ctx context.Context, s *pgdump.Stored) (job pgdump.Job, err error) {
	l := f.logical
	if l.into == "" {
		if l.into, err = secretEnv("DATABASE_URL"); err != nil {
			return job, usage(err)
		}
	}
	if l.into == "" || l.toDatabase == "" && !f.intoGiven {
		return job, usage(errors.New("say where to restore to: --into postgres://HOST/DATABASE, or --to-database NAME on the server of DATABASE_URL"))
	}
	conninfo, err := pgdump.ParseConninfo(l.into)
	if err != nil {
		return job, usage(fmt.Errorf("--into: %w", err))
	}
	choice := s.Contents.All()
	if len(l.tables)+len(l.schemas) > 0 {
		if choice, err = s.Contents.Choose(l.tables, l.schemas); err != nil {
			return job, usage(err)
		}
	}
	target, err := pgdump.Look(ctx, conninfo, l.toDatabase)
	if err != nil {
		return job, err
	}
	found, err := pgdump.Find(ctx, f.pgBin)
	if err != nil {
		return job, usage(err)
	}
	tools, err := pgdump.Choose(found, target.Major, s.Manifest.Logical.DumpVersion/10000)
	if err != nil {
		return job, err
	}
	plan, err := pgdump.Make(ctx, s, target, choice, l.replace)
	if err != nil {
		return job, err
	}
	plan.Atomic = target.New || tools.Atomic(l.jobs, target.Major)
	return pgdump.Job{Tools: tools, Stored: s, Target: target, Plan: plan, Jobs: l.jobs, Dir: l.temp, NoOwner: l.noOwner, NoPrivileges: l.noPrivileges}, nil
}

// allowLogical refuses what a person hasn't said.
func (f *restoreFlags) allowLogical(j pgdump.Job) error {
	p, s := j.Plan, f.withService
	if len(p.InTheWay) == 0 {
		return nil
	}
	what := some(p.InTheWay, 5)
	switch {
	case !p.Replaces:
		return &exitError{fmt.Errorf("in %s there is already %s: nothing was touched; restore into a new database with --to-database, or drop these and restore them with --replace", p.Into, what), exitFailed}
	case s.confirm != "" && s.confirm != j.Target.Database:
		return usage(fmt.Errorf("--confirm %s: what is restored into is %s", s.confirm, j.Target.Database))
	case s.confirm == "" && !s.yes:
		return usage(fmt.Errorf("this drops %s in %s, with what is in them now: look at --plan, then say --yes or --confirm %s", what, p.Into, j.Target.Database))
	}
	return nil
}

// globals makes the roles and tablespaces, where they are asked for.
func (f *restoreFlags) globals(ctx context.Context, errs io.Writer, j pgdump.Job) error {
	if !f.logical.globals {
		return nil
	}
	notice := func(line string) { _, _ = fmt.Fprintln(errs, line) } // a remark that can't be told is lost
	return halfDone(pgdump.Globals(ctx, j.Tools, j.Stored, j.Target, notice))
}

// undump does the work on one database, and has it remembered.
func (f *restoreFlags) undump(ctx context.Context, errs io.Writer, c backup.Cluster, out *logicalResult, j pgdump.Job) error {
	j.Report = f.progress(errs)
	r := f.logicalNote(out)
	f.noteLogical(ctx, errs, r, nil)
	warn := func(err error) { _, _ = fmt.Fprintln(errs, "warning:", err) }
	_, err := guard(ctx, c.LogicalBackups(), out.Backup, 0, warn, func() error { return j.Run(ctx) })
	var left *pgdump.LeftError
	switch {
	case errors.As(err, &left):
		err = halfDone(err)
	case err != nil && f.logical.globals:
		err = halfDone(fmt.Errorf("%w (the roles and tablespaces that --globals made stay: they do no harm, and the next restore finds them)", err))
	}
	f.noteLogical(ctx, errs, r, &ended{err})
	if saveErr := f.remember(ctx, c, r, err); saveErr != nil {
		_, _ = fmt.Fprintln(errs, "warning: the restore could not be noted in the repository:", saveErr)
	}
	if err == nil {
		out.Done, out.Took = true, time.Since(r.Began).Round(time.Millisecond).String()
	}
	return err
}

// contentsLine is one line of --list.
type contentsLine struct {
	Kind   string `json:"kind"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Owner  string `json:"owner"`
	Bytes  int64  `json:"bytes"` // of its rows
}

func (f *restoreFlags) printContents(cmd *cobra.Command, s *pgdump.Stored, n int) error {
	out := []contentsLine{}
	rowsOf := map[string]int64{}
	for _, e := range s.Contents.Entries {
		rowsOf[e.Name()] += s.Bytes(e)
	}
	for _, e := range s.Contents.Entries {
		if e.Relation() {
			out = append(out, contentsLine{e.Kind, e.Namespace, e.Tag, e.Owner, rowsOf[e.Name()]})
		}
	}
	return f.print(cmd.OutOrStdout(), out, func(w io.Writer) error {
		m := s.Manifest
		if _, err := fmt.Fprintf(w, "backup %s of database %s, as of %s\n", m.ID, m.Logical.Databases[n].Name, when(m.Started)); err != nil {
			return err
		}
		var lines [][]string
		for _, l := range out {
			lines = append(lines, []string{strings.ToLower(l.Kind), l.Schema, l.Name, l.Owner, size(l.Bytes)})
		}
		return rows(w, []string{"KIND", "SCHEMA", "NAME", "OWNER", "SIZE"}, lines)
	})
}

// some lists the first n.
func some(list []string, n int) string {
	text := strings.Join(list[:min(len(list), n)], ", ")
	if more := len(list) - n; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// table prints the plan, and what became of it.
func (r *logicalResult) table(w io.Writer) error {
	p := r.Plan
	into := p.Into
	if p.Creates {
		into += ", which is made"
	}
	whole := "whole or not at all"
	if !p.Atomic {
		whole = "NOT as a whole: what was restored stays when something fails"
	}
	way := some(p.InTheWay, 20)
	if way != "" && p.Replaces {
		way += ": DROPPED"
	} else if way != "" {
		way += ": needs --replace, which drops them"
	}
	var names []string
	for _, t := range p.Restores {
		names = append(names, fmt.Sprintf("%s (%s)", t.Name, size(t.Bytes)))
	}
	return fields(w, "backup", r.Backup+", as of "+when(r.Dumped), "database", r.Database, "into", into, "restores", some(names, 20),
		"objects", fmt.Sprintf("%d, %s", p.Objects, size(p.Bytes)), "done", whole, "in the way", way, "left out", some(p.LeftOut, 20), "took", r.Took)
}
