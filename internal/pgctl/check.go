package pgctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/covetpy/covet/ops/backup"
)

// CheckOptions say how to reach a server that is to be checked.
type CheckOptions struct {
	Socket string // folder of its socket
	Port   uint16 // 5432 where 0
	User   string
	// Queries must each yield one row of one boolean, which must be true, in Database.
	Queries  []string
	Database string
}

// CheckServer looks whether a restored server holds sound data: every database can be opened, every B-tree index is in
// order where amcheck is installed, and the given queries say so.
func CheckServer(ctx context.Context, o CheckOptions) ([]backup.Check, error) {
	names, err := query(ctx, o, "postgres", "SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 AND datname <> 'template1' ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("list the databases: %w", err)
	}
	halfDropped, err := query(ctx, o, "postgres", "SELECT datname FROM pg_database WHERE datconnlimit = -2 ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("list the databases: %w", err)
	}
	var out []backup.Check
	for _, name := range names {
		out = append(out, checkDatabase(ctx, o, name))
	}
	for _, name := range halfDropped { // the original lets nobody in either
		out = append(out, backup.Check{What: "database " + name, OK: true, Says: "not checked: DROP DATABASE was interrupted before the backup, and is all that can be done with it"})
	}
	for _, q := range o.Queries {
		out = append(out, checkQuery(ctx, o, q))
	}
	return out, nil
}

// checkDatabase reads a database's catalogue and walks its indexes.
func checkDatabase(ctx context.Context, o CheckOptions, name string) backup.Check {
	c := backup.Check{What: "database " + name}
	available, err := query(ctx, o, name, "SELECT name FROM pg_available_extensions WHERE name = 'amcheck'")
	if err == nil && len(available) == 0 {
		c.OK, c.Says = true, "opens; amcheck is not installed, its indexes were not checked"
		return c
	}
	if err == nil {
		_, err = query(ctx, o, name, "CREATE EXTENSION IF NOT EXISTS amcheck")
	}
	var checked []string
	if err == nil {
		checked, err = query(ctx, o, name, `SELECT bt_index_check(i.indexrelid)::text || i.indexrelid FROM pg_index i
			JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
			WHERE a.amname = 'btree' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid`)
	}
	if err != nil {
		c.Says = err.Error()
		return c
	}
	c.OK, c.Says = true, fmt.Sprintf("%d indexes are in order", len(checked))
	return c
}

func checkQuery(ctx context.Context, o CheckOptions, q string) backup.Check {
	c := backup.Check{What: q}
	got, err := query(ctx, o, o.Database, q)
	switch {
	case err != nil:
		c.Says = err.Error()
	case len(got) != 1 || got[0] != "t" && got[0] != "true":
		c.Says = fmt.Sprintf("answered %q instead of one row that is true", got)
	default:
		c.OK, c.Says = true, "true"
	}
	return c
}

// query returns the first column as text.
func query(ctx context.Context, o CheckOptions, database, sql string) (out []string, err error) {
	cfg, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database = o.Socket, cmp.Or(o.Port, 5432), o.User, database
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		if len(rows.RawValues()) > 0 {
			out = append(out, string(rows.RawValues()[0]))
		}
	}
	return out, rows.Err()
}
