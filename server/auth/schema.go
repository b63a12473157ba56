package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/covetpy/covet/server/pg"
	"github.com/jackc/pgx/v5"
)

// tables is what users and sessions are kept in. Each statement may be run again.
const tables = `
CREATE TABLE IF NOT EXISTS covet_users (
	name       text PRIMARY KEY,
	hash       text NOT NULL,
	roles      text[] NOT NULL DEFAULT '{}',
	disabled   boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now(),
	changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS covet_user_changes (
	id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at     timestamptz NOT NULL DEFAULT now(),
	by     text NOT NULL,
	name   text NOT NULL,
	change text NOT NULL
);
CREATE TABLE IF NOT EXISTS covet_token_families (
	family  text PRIMARY KEY,
	token   text NOT NULL,
	expires timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS covet_token_families_expires ON covet_token_families (expires);`

// schemaLock is the advisory lock under which the tables are made: the first 8 bytes of sha256("covet schema").
const schemaLock = 0x31a7d40c7e55f09b

// schema makes the tables before the first write of this process.
type schema struct {
	db   *pg.DB
	made atomic.Bool
}

// write runs f in a transaction on the primary, with the tables there.
func (s *schema) write(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	if !s.db.Writable() {
		return fmt.Errorf("%w: %w", ErrUnavailable, pg.ErrNoPrimary)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := s.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if !s.made.Load() {
			if err := makeTables(ctx, tx); err != nil {
				return err
			}
		}
		return f(ctx, tx)
	})
	if err == nil {
		s.made.Store(true)
	}
	return unavailable(err)
}

func makeTables(ctx context.Context, tx pgx.Tx) error {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('covet_token_families_expires') IS NOT NULL").Scan(&there); err != nil || there {
		return err // a role that may not make tables can use those that are there
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, tables); err != nil {
		return fmt.Errorf("make the tables of users and sessions (covet_users, …): %w", err)
	}
	return nil
}

// read runs f on the primary: what it answers must not be a moment old. Without the tables there is nobody.
func (s *schema) read(ctx context.Context, f func(ctx context.Context, q pg.Querier) error) error {
	if !s.db.Writable() {
		return fmt.Errorf("%w: %w", ErrUnavailable, pg.ErrNoPrimary)
	}
	ctx, cancel := context.WithTimeout(pg.FromPrimary(ctx), storeTimeout)
	defer cancel()
	err := s.db.Read(ctx, f)
	if pg.IsUndefinedTable(err) {
		return pgx.ErrNoRows
	}
	return unavailable(err)
}

// storeTimeout bounds one question to the database.
const storeTimeout = time.Second

// unavailable marks errors of the database as such, and leaves this package's own as they are.
func unavailable(err error) error {
	if err == nil || errors.Is(err, pgx.ErrNoRows) || isOwn(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func isOwn(err error) bool {
	for _, own := range []error{ErrCredentials, ErrRevoked, ErrReused, ErrUnavailable, ErrUserExists, ErrNoUser} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
