package pgdump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/covetpy/covet/ops/backup"
)

// Server is what is known of a server that is dumped.
type Server struct {
	Origin    backup.Origin
	Databases []string // that can be dumped
	Torn      []string // whose DROP was interrupted: the server lets nobody in
	Database  string   // that the address names
	Superuser bool
	Bytes     int64 // of Databases
}

// Ask connects to a server and asks what it is.
func Ask(ctx context.Context, c Conninfo, database string) (s Server, err error) {
	cfg, err := pgx.ParseConfig(c.dsn)
	if database != "" {
		cfg, err = c.config(database)
	}
	if err != nil {
		return s, err
	}
	cfg.Password, cfg.DefaultQueryExecMode = c.password, pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return s, fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var system int64
	err = conn.QueryRow(ctx, `SELECT (SELECT system_identifier FROM pg_control_system()), current_setting('server_version_num')::int, clock_timestamp(),
		current_database(), (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`).
		Scan(&system, &s.Origin.PGVersion, &s.Origin.Time, &s.Database, &s.Superuser)
	if err != nil {
		return s, fmt.Errorf("ask the server what it is: %w", err)
	}
	s.Origin.System = backup.SystemID(system)
	rows, err := conn.Query(ctx, `SELECT datname, datconnlimit = -2, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END
		FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1`)
	if err != nil {
		return s, fmt.Errorf("list the databases: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var torn bool
		var size int64
		if err := rows.Scan(&name, &torn, &size); err != nil {
			return s, fmt.Errorf("list the databases: %w", err)
		}
		if torn {
			s.Torn = append(s.Torn, name)
			continue
		}
		s.Databases = append(s.Databases, name)
		s.Bytes += size
	}
	return s, rows.Err()
}

// Dump is databases to be dumped.
type Dump struct {
	Tools     Tools
	Conninfo  Conninfo
	Databases []string
	// Globals takes roles and tablespaces along; Passwords, the roles' passwords, which only a superuser may read.
	Globals, Passwords bool
	Filters            []string // for pg_dump: --table=…
	// Notice gets what the programs remark.
	Notice func(string)
}

// GlobalsName is the piece with the roles and tablespaces: SQL.
const GlobalsName = "globals.sql"

// Folder is where the pieces of the n-th database are, from 0.
func Folder(n int) string { return fmt.Sprint(n+1, "/") }

// Dump implements backup.Dumper.
func (d Dump) Dump(ctx context.Context, to backup.DumpSink) (*backup.Logical, error) {
	out := &backup.Logical{DumpVersion: d.Tools.Version, Globals: d.Globals, Filters: d.Filters}
	if d.Globals {
		if err := d.globals(ctx, to); err != nil {
			return nil, fmt.Errorf("roles and tablespaces: %w", err)
		}
	}
	for i, name := range d.Databases {
		w := &countingSink{DumpSink: to}
		tables := 0
		args := append([]string{"--format=custom", "--compress=0", "--no-password", "--dbname=" + d.Conninfo.To(name)}, d.Filters...)
		err := d.run(ctx, "pg_dump", args, func(r io.Reader) (err error) {
			tables, err = split(r, Folder(i), w, func(c *Contents) { d.expect(ctx, name, c, to) })
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", name, err)
		}
		out.Databases = append(out.Databases, backup.Dumped{Name: name, Bytes: w.n, Tables: tables})
	}
	return out, nil
}

// globals dumps what belongs to no database.
func (d Dump) globals(ctx context.Context, to backup.DumpSink) error {
	args := []string{"--globals-only", "--no-password", "--dbname=" + d.Conninfo.To(d.Databases[0])}
	if !d.Passwords {
		args = append(args, "--no-role-passwords")
	}
	if err := to.Begin(GlobalsName); err != nil {
		return err
	}
	return d.run(ctx, "pg_dumpall", args, func(r io.Reader) error {
		_, err := io.Copy(to, r)
		return err
	})
}

// run starts a program and lets read have its output. A program that fails makes it fail, whatever was read.
func (d Dump) run(ctx context.Context, name string, args []string, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := program(ctx, d.Tools, name, args, d.Conninfo)
	notes := &remarks{notice: d.Notice}
	cmd.Stderr = notes
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	readErr := read(out)
	if readErr != nil && !errors.Is(readErr, io.ErrUnexpectedEOF) {
		cancel()       // nobody reads on
		_ = cmd.Wait() // it was told to end
		return readErr
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s failed (%w): %s", name, err, notes.last())
	}
	return readErr
}

// program prepares one of PostgreSQL's programs, which ends when the context does.
func program(ctx context.Context, t Tools, name string, args []string, c Conninfo) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(t.Dir, name), args...)
	cmd.Env = c.environ()
	cmd.Dir = "/"
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends its session with the server
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// expect estimates the rows to come from the sizes of the tables.
func (d Dump) expect(ctx context.Context, database string, c *Contents, to backup.DumpSink) {
	if len(d.Filters) == 0 && len(d.Databases) > 1 {
		return // the whole server was estimated before
	}
	var schemas, tables []string
	for _, e := range c.Entries {
		if e.Kind == tableData {
			schemas, tables = append(schemas, e.Namespace), append(tables, e.Tag)
		}
	}
	cfg, err := d.Conninfo.config(database)
	if err != nil {
		return // an estimate isn't worth an error
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was written
	var n int64
	err = conn.QueryRow(ctx, `SELECT coalesce(sum(pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0)), 0)::bigint
		FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
		JOIN unnest($1::text[], $2::text[]) w(s, t) ON s.nspname = w.s AND c.relname = w.t`, schemas, tables).Scan(&n)
	if err == nil {
		to.Expect(n)
	}
}

// countingSink counts what goes through it.
type countingSink struct {
	backup.DumpSink
	n int64
}

func (c *countingSink) Write(b []byte) (int, error) {
	n, err := c.DumpSink.Write(b)
	c.n += int64(n)
	return n, err
}

// remarks are what a program says on its standard error: a few lines are kept, and all are passed on.
type remarks struct {
	notice func(string)

	mu    sync.Mutex
	part  []byte
	lines []string
}

// remarksKept bounds how many lines are remembered.
const remarksKept = 20

// Write implements io.Writer.
func (r *remarks) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.part = append(r.part, b...)
	for {
		line, rest, ok := bytes.Cut(r.part, []byte("\n"))
		if !ok {
			break
		}
		r.part = rest
		text := strings.TrimSpace(string(line))
		r.lines = append(r.lines, text)
		if len(r.lines) > remarksKept {
			r.lines = slices.Delete(r.lines, 0, 1)
		}
		if r.notice != nil {
			r.notice(text)
		}
	}
	return len(b), nil
}

// last is what it said at the end, in a line.
func (r *remarks) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "; ")
}
