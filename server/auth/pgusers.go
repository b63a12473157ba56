package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/server/pg"
	"github.com/jackc/pgx/v5"
)

// Errors of changing users.
var (
	ErrUserExists = errors.New("there is a user of that name already")
	ErrNoUser     = errors.New("there is no user of that name")
)

// Users is a [UserStore] in PostgreSQL, and what changes it. Its methods are safe for concurrent use.
type Users struct {
	schema
	passwords *passwords
}

// NewUsers returns the users in db.
func NewUsers(db *pg.DB) *Users { return &Users{schema: schema{db: db}, passwords: newPasswords()} }

// Account is a user as those who look after users see it.
type Account struct {
	Name      string    `json:"name" yaml:"name"`
	Roles     []string  `json:"roles" yaml:"roles"`
	Disabled  bool      `json:"disabled" yaml:"disabled"`
	CreatedAt time.Time `json:"created_at" yaml:"created_at"`
	ChangedAt time.Time `json:"changed_at" yaml:"changed_at"`
}

// Change is one line of the log of changes to users.
type Change struct {
	At     time.Time `json:"at" yaml:"at"`
	By     string    `json:"by" yaml:"by"`
	Name   string    `json:"name" yaml:"name"`
	Change string    `json:"change" yaml:"change"`
}

// Authenticate returns the user of that name and password.
func (u *Users) Authenticate(ctx context.Context, name, password string) (User, error) {
	user, hash, err := u.find(ctx, name)
	var parsed *parsedHash
	switch {
	case err == nil:
		p, err := parseHash(hash)
		if err != nil {
			return User{}, fmt.Errorf("the hash of user %s %w", name, err)
		}
		parsed = &p
	case !errors.Is(err, ErrCredentials):
		return User{}, err
	}
	ok, err := u.passwords.match(ctx, parsed, password)
	if err != nil {
		return User{}, err
	}
	if !ok {
		return User{}, ErrCredentials
	}
	return user, nil
}

// Find returns a user as it is now. One who is disabled is not there.
func (u *Users) Find(ctx context.Context, name string) (User, error) {
	user, _, err := u.find(ctx, name)
	return user, err
}

func (u *Users) find(ctx context.Context, name string) (user User, hash string, err error) {
	user.Name = name
	err = u.read(ctx, func(ctx context.Context, q pg.Querier) error {
		return q.QueryRow(ctx, "SELECT hash, roles FROM covet_users WHERE name = $1 AND NOT disabled", name).Scan(&hash, &user.Roles)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrCredentials
	}
	return user, hash, err
}

// List returns all users, by name.
func (u *Users) List(ctx context.Context) ([]Account, error) {
	return list(ctx, u, `SELECT name, roles, disabled, created_at, changed_at FROM covet_users ORDER BY name`, func(a *Account) []any {
		return []any{&a.Name, &a.Roles, &a.Disabled, &a.CreatedAt, &a.ChangedAt}
	})
}

// Changes returns the newest changes to users, the newest first.
func (u *Users) Changes(ctx context.Context, limit int) ([]Change, error) {
	return list(ctx, u, fmt.Sprintf(`SELECT at, by, name, change FROM covet_user_changes ORDER BY id DESC LIMIT %d`, limit), func(c *Change) []any {
		return []any{&c.At, &c.By, &c.Name, &c.Change}
	})
}

func list[T any](ctx context.Context, u *Users, sql string, fields func(*T) []any) ([]T, error) {
	var out []T
	err := u.read(ctx, func(ctx context.Context, q pg.Querier) error {
		rows, err := q.Query(ctx, sql)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) {
			var v T
			return v, row.Scan(fields(&v)...)
		})
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return out, err
}

// Add makes a user. by is who does it, for the log of changes.
func (u *Users) Add(ctx context.Context, by string, user User, password string) error {
	if err := user.check(); err != nil {
		return err
	}
	hash, err := HashPassword(password)
	if err != nil {
		return err
	}
	return u.change(ctx, by, user.Name, "added"+withRoles(user.Roles), func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO covet_users (name, hash, roles) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", user.Name, hash, orEmpty(user.Roles))
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("%w: %s", ErrUserExists, user.Name)
		}
		return err
	})
}

// SetPassword gives a user another password. Sessions that are open stay so.
func (u *Users) SetPassword(ctx context.Context, by, name, password string) error {
	hash, err := HashPassword(password)
	if err != nil {
		return err
	}
	return u.update(ctx, by, name, "password changed", "hash = $2", hash)
}

// SetRoles gives a user other roles, which count from the next refresh of a token on.
func (u *Users) SetRoles(ctx context.Context, by, name string, roles []string) error {
	if err := (User{Name: name, Roles: roles}).check(); err != nil {
		return err
	}
	return u.update(ctx, by, name, "roles changed"+withRoles(roles), "roles = $2", orEmpty(roles))
}

// Disable keeps a user from signing in and refreshing, or lets them again.
func (u *Users) Disable(ctx context.Context, by, name string, disabled bool) error {
	return u.update(ctx, by, name, map[bool]string{true: "disabled", false: "enabled"}[disabled], "disabled = $2", disabled)
}

// Remove deletes a user.
func (u *Users) Remove(ctx context.Context, by, name string) error {
	return u.change(ctx, by, name, "removed", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM covet_users WHERE name = $1", name)
		return noUser(name, tag.RowsAffected(), err)
	})
}

func (u *Users) update(ctx context.Context, by, name, what, set string, value any) error {
	return u.change(ctx, by, name, what, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE covet_users SET "+set+", changed_at = now() WHERE name = $1", name, value)
		return noUser(name, tag.RowsAffected(), err)
	})
}

func noUser(name string, rows int64, err error) error {
	if err == nil && rows == 0 {
		return fmt.Errorf("%w: %s", ErrNoUser, name)
	}
	return err
}

// change makes a change and writes it to the log of changes, both or neither.
func (u *Users) change(ctx context.Context, by, name, what string, f func(ctx context.Context, tx pgx.Tx) error) error {
	return u.write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO covet_user_changes (by, name, change) VALUES ($1, $2, $3)", by, name, what)
		return err
	})
}

func withRoles(roles []string) string {
	if len(roles) == 0 {
		return ", without roles"
	}
	return ", " + strings.Join(roles, ", ")
}

func orEmpty(roles []string) []string {
	if roles == nil {
		return []string{}
	}
	return slices.Clone(roles)
}
