package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgdump"
	"github.com/covetpy/covet/ops/backup"
)

// dumpFlags are those of a logical backup.
type dumpFlags struct {
	on, all                                 bool
	databases, tables, schemas              []string
	exceptTables, exceptSchemas, exceptData []string
	pgBin                                   string
}

func (f *dumpFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.on, "logical", false, "dump databases with pg_dump instead of copying the cluster's files")
	fs.StringArrayVar(&f.databases, "database", nil, "with --logical: database to dump (repeatable); default the one of --database-url")
	fs.BoolVar(&f.all, "all-databases", false, "with --logical: dump every database, and the roles and tablespaces")
	for _, o := range []struct {
		to         *[]string
		flag, what string
	}{
		{&f.tables, "table", "only tables of this pattern"}, {&f.schemas, "schema", "only schemas of this pattern"},
		{&f.exceptTables, "exclude-table", "no tables of this pattern"}, {&f.exceptSchemas, "exclude-schema", "no schemas of this pattern"},
		{&f.exceptData, "exclude-table-data", "no rows of tables of this pattern"},
	} {
		fs.StringArrayVar(o.to, o.flag, nil, "with --logical: "+o.what+", as pg_dump understands it (repeatable)")
	}
	fs.StringVar(&f.pgBin, "pg-bin", "", "with --logical: folder of pg_dump; default found by the server's version")
}

// physicalFlags are those of backup run that say nothing to a dump.
var physicalFlags = []string{"pgdata", "full", "spread", "no-verify-checksums", "max-rate", "wait-wal"}

// logicalFlags are those that say nothing without --logical.
var logicalFlags = []string{"database", "all-databases", "table", "schema", "exclude-table", "exclude-schema", "exclude-table-data", "pg-bin"}

// checkKind refuses flags of the other kind of backup.
func (f *dumpFlags) checkKind(given func(string) bool) error {
	for _, name := range physicalFlags {
		if f.on && given(name) {
			return usage(fmt.Errorf("--%s is of backups of the cluster's files: leave it out, or --logical", name))
		}
	}
	for _, name := range logicalFlags {
		if !f.on && given(name) {
			return usage(fmt.Errorf("--%s needs --logical: a backup of the cluster's files has everything", name))
		}
	}
	if f.all && len(f.databases) > 0 {
		return usage(errors.New("--all-databases and --database exclude each other"))
	}
	return nil
}

// filters are those for pg_dump.
func (f *dumpFlags) filters() []string {
	var out []string
	for _, o := range []struct {
		flag   string
		values []string
	}{
		{"--table=", f.tables}, {"--schema=", f.schemas}, {"--exclude-table=", f.exceptTables}, {"--exclude-schema=", f.exceptSchemas},
		{"--exclude-table-data=", f.exceptData},
	} {
		for _, v := range o.values {
			out = append(out, o.flag+v)
		}
	}
	return out
}

// dump makes a logical backup.
func (f *runFlags) dump(ctx context.Context, repo backup.Repository, dsn string, codec backup.Codec, errs io.Writer) (h backup.Head, err error) {
	c, err := pgdump.ParseConninfo(dsn)
	if err != nil {
		return h, usage(err)
	}
	found, err := pgdump.Find(ctx, f.logical.pgBin)
	if err != nil {
		return h, usage(err)
	}
	server, err := pgdump.Ask(ctx, c, "")
	if err != nil {
		return h, err
	}
	tools, err := pgdump.Choose(found, server.Origin.PGVersion/10000, 0)
	if err != nil {
		return h, err
	}
	d := pgdump.Dump{
		Tools: tools, Conninfo: c, Databases: f.logical.databases, Globals: f.logical.all, Passwords: server.Superuser, Filters: f.logical.filters(),
		Notice: func(line string) { _, _ = fmt.Fprintln(errs, line) }, // a remark that can't be told is lost
	}
	var total int64
	switch {
	case f.logical.all:
		d.Databases, total = server.Databases, server.Bytes
		for _, name := range server.Torn {
			_, _ = fmt.Fprintf(errs, "warning: database %s is not dumped: its DROP was interrupted, and to end that is all that can be done with it\n", name)
		}
	case len(d.Databases) == 0:
		d.Databases = []string{server.Database}
	}
	for _, name := range d.Databases {
		if !slices.Contains(server.Databases, name) && name != server.Database {
			return h, usage(fmt.Errorf("the server has no database %s that can be dumped: it has %s", name, strings.Join(server.Databases, ", ")))
		}
	}
	if d.Globals && !d.Passwords {
		_, _ = fmt.Fprintln(errs, "warning: roles are dumped without their passwords, which only a superuser may read")
	}
	return backup.RunLogical(ctx, backup.LogicalJob{
		Repository: repo, Service: f.service, Origin: server.Origin, Dumper: d, Codec: codec, Label: f.label, Total: total, Workers: f.workers,
		Report: f.progress(errs), Warn: func(err error) { _, _ = fmt.Fprintln(errs, "warning:", err) },
	})
}

// printDump shows the head of a logical backup.
func printDump(w io.Writer, h backup.Head) error {
	l := h.Logical
	var dbs []string
	for _, d := range l.Databases {
		dbs = append(dbs, fmt.Sprintf("%s (%d tables, %s)", d.Name, d.Tables, size(d.Bytes)))
	}
	globals := ""
	if l.Globals {
		globals = "there"
	}
	return fields(w, "backup", h.ID, "kind", "logical", "label", h.Label, "service", h.Service, "system", h.System.String(),
		"PostgreSQL", versionText(h.PGVersion), "pg_dump", versionText(l.DumpVersion), "started", when(h.Started), "ended", when(h.Stopped),
		"databases", strings.Join(dbs, ", "), "roles, tablespaces", globals, "only", strings.Join(l.Filters, " "),
		"size", size(h.Bytes), "stored", fmt.Sprintf("%s (%s)", size(h.StoredBytes), h.Codec), "encrypted for", strings.Join(h.EncryptedFor, ", "))
}

func versionText(v int) string { return fmt.Sprintf("%d.%d", v/10000, v%10000) }
