package auth

import (
	"context"
	"errors"
	"time"

	"github.com/covetpy/covet/server/pg"
	"github.com/jackc/pgx/v5"
)

// Database holds families in PostgreSQL, where every process of the service sees them.
type Database struct {
	schema
	seen   *Memory // what this process has seen revoked, for when the database is away
	forTTL time.Duration
}

// NewDatabase returns a store in db. accessTTL is how long access tokens live.
func NewDatabase(db *pg.DB, accessTTL time.Duration) *Database {
	return &Database{schema: schema{db: db}, seen: NewMemory(), forTTL: accessTTL}
}

const putFamily = `INSERT INTO covet_token_families (family, token, expires) VALUES ($1, $2, now() + $3::interval)
	ON CONFLICT (family) DO UPDATE SET token = excluded.token, expires = excluded.expires`

// Begin makes a family, and forgets some that have expired long ago.
func (d *Database) Begin(ctx context.Context, family, token string, ttl time.Duration) error {
	return d.write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM covet_token_families WHERE family IN (SELECT family FROM covet_token_families
			WHERE expires < now() - interval '1 hour' LIMIT 10 FOR UPDATE SKIP LOCKED)`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, putFamily, family, token, ttl)
		return err
	})
}

// Rotate replaces the newest token.
func (d *Database) Rotate(ctx context.Context, family, old, next string, ttl time.Duration) error {
	reused := false
	err := d.write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		reused = false
		var newest string
		err := tx.QueryRow(ctx, "SELECT token FROM covet_token_families WHERE family = $1 AND expires > now() FOR UPDATE", family).Scan(&newest)
		if errors.Is(err, pgx.ErrNoRows) || newest == revoked {
			return ErrRevoked
		}
		if err != nil {
			return err
		}
		if newest != old {
			reused, next = true, revoked
		}
		_, err = tx.Exec(ctx, putFamily, family, next, ttl)
		return err
	})
	if err == nil && reused {
		err = ErrReused
	}
	if errors.Is(err, ErrReused) || errors.Is(err, ErrRevoked) {
		d.remember(family)
	}
	return err
}

// Revoke ends a family.
func (d *Database) Revoke(ctx context.Context, family string, ttl time.Duration) error {
	err := d.write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, putFamily, family, revoked, ttl)
		return err
	})
	if err == nil {
		d.remember(family)
	}
	return err
}

// Revoked says whether a family was ended. While the database is away it says so of those that this process has seen
// ended.
func (d *Database) Revoked(ctx context.Context, family string) (bool, error) {
	if known, err := d.seen.Revoked(ctx, family); known || err != nil {
		return known, err
	}
	var newest string
	err := d.read(ctx, func(ctx context.Context, q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT token FROM covet_token_families WHERE family = $1", family).Scan(&newest)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err == nil && newest == revoked {
		d.remember(family)
		return true, nil
	}
	return false, err
}

// remember keeps a revocation in this process. That may fail where a hundred thousand are kept already; the database
// still knows.
func (d *Database) remember(family string) { _ = d.seen.Revoke(context.Background(), family, d.forTTL) }
