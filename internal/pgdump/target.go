package pgdump

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Target is a database that a dump is restored into.
type Target struct {
	Conninfo Conninfo
	Database string
	// New says that the database isn't there: it is made.
	New bool
	// From is a database of the server that is there, to make it from.
	From string
	// Major is the server's major version.
	Major int
	// Where is the server for a person: HOST:PORT.
	Where string
}

// Look asks the server of an address about a database; an empty name means the one of the address.
func Look(ctx context.Context, c Conninfo, database string) (Target, error) {
	t := Target{Conninfo: c, Database: database}
	s, err := Ask(ctx, c, "")
	if err != nil {
		return t, err
	}
	cfg, err := pgx.ParseConfig(c.dsn)
	if err != nil {
		return t, err
	}
	t.From, t.Major, t.Where = s.Database, s.Origin.PGVersion/10000, fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)
	if t.Database == "" {
		t.Database = s.Database
	}
	found := false
	err = t.query(ctx, t.From, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", []any{t.Database}, func(row pgx.Rows) error { return row.Scan(&found) })
	t.New = !found
	return t, err
}

// query asks in one of the server's databases.
func (t Target) query(ctx context.Context, database, sql string, args []any, row func(pgx.Rows) error) (err error) {
	cfg, err := t.Conninfo.config(database)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", database, err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// what entries can be looked for in a database, by the catalogue that has them.
func catalogue(kind string) string {
	switch kind {
	case schemaKind:
		return "schema"
	case "TYPE", "DOMAIN", "SHELL TYPE":
		return "type"
	case "FUNCTION", "PROCEDURE", "AGGREGATE":
		return "function"
	}
	if (Entry{Kind: kind}).Relation() || kind == "INDEX" {
		return "relation"
	}
	return ""
}

const existing = `SELECT w.i FROM unnest($1::int[], $2::text[], $3::text[], $4::text[]) w(i, kind, space, name) WHERE CASE w.kind
	WHEN 'schema' THEN EXISTS (SELECT FROM pg_namespace WHERE nspname = w.name)
	WHEN 'type' THEN EXISTS (SELECT FROM pg_type t JOIN pg_namespace s ON s.oid = t.typnamespace WHERE s.nspname = w.space AND t.typname = w.name)
	WHEN 'function' THEN to_regprocedure(quote_ident(w.space) || '.' || w.name) IS NOT NULL
	ELSE EXISTS (SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE s.nspname = w.space AND c.relname = w.name) END`

// Existing returns which of the entries are in the database already, by ID. Only schemas, types, functions and relations are
// looked for.
func (t Target) Existing(ctx context.Context, entries []Entry) (map[int]bool, error) {
	there := map[int]bool{}
	if t.New {
		return there, nil
	}
	var ids []int
	var kinds, spaces, names []string
	for _, e := range entries {
		if k := catalogue(e.Kind); k != "" {
			ids, kinds, spaces, names = append(ids, e.ID), append(kinds, k), append(spaces, e.Namespace), append(names, e.Tag)
		}
	}
	err := t.query(ctx, t.Database, existing, []any{ids, kinds, spaces, names}, func(row pgx.Rows) error {
		var id int
		err := row.Scan(&id)
		there[id] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look what is in database %s: %w", t.Database, err)
	}
	return there, nil
}

// Create makes the database, as the dumped one was made.
func (t Target) Create(ctx context.Context, c *Contents) error {
	name := pgx.Identifier{t.Database}.Sanitize()
	how := " WITH TEMPLATE = template0"
	for _, e := range c.Entries {
		if e.Kind == "DATABASE" {
			if _, after, ok := strings.Cut(e.Defn, " WITH TEMPLATE = template0"); ok {
				how += strings.TrimRight(after, "; \n")
				if t.Major < 15 { // pg_dump says so of an older server too, which doesn't know it
					how = strings.Replace(how, " LOCALE_PROVIDER = libc", "", 1)
				}
			}
		}
	}
	err := t.query(ctx, t.From, "CREATE DATABASE "+name+how, nil, func(pgx.Rows) error { return nil })
	if err != nil {
		return fmt.Errorf("make database %s: %w", t.Database, err)
	}
	return nil
}

// Remove drops the database that Create made.
func (t Target) Remove(ctx context.Context) error {
	name := pgx.Identifier{t.Database}.Sanitize()
	return t.query(ctx, t.From, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", nil, func(pgx.Rows) error { return nil })
}
