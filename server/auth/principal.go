// Package auth knows users: their passwords, and tokens that speak for them for a while. Access tokens are short; refresh
// tokens are used once each, and one that is used twice ends every token of its family, because one of the two users of
// it has stolen it (RFC 9700, 4.14.2).
package auth

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Reasons to turn somebody away. Errors of this package wrap them.
var (
	ErrCredentials = errors.New("wrong user name or password")
	ErrToken       = errors.New("not a token of this service")
	ErrExpired     = errors.New("the token has expired")
	ErrRevoked     = errors.New("the token was revoked")
	ErrReused      = errors.New("the refresh token was used before: every token of its family is revoked")
)

// ErrUnavailable means that nobody can say just now: the store of families is away, or too many passwords wait to be
// checked.
var ErrUnavailable = errors.New("cannot be decided at present")

// Principal is who a request speaks for.
type Principal struct {
	User    string
	Roles   []string
	Expires time.Time // of the token
	family  string
}

// HasRole says whether the principal has one of the roles, or, where none is named, is known at all.
func (p *Principal) HasRole(roles ...string) bool {
	return len(roles) == 0 || slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(p.Roles, r) })
}

// Key is the key of a context's *Principal.
type Key struct{}

// PrincipalFrom returns who the request of ctx speaks for, or nil.
func PrincipalFrom(ctx context.Context) *Principal {
	p, _ := ctx.Value(Key{}).(*Principal)
	return p
}

// User is somebody who may have tokens.
type User struct {
	Name  string
	Roles []string
}

// UserStore knows users and their passwords.
type UserStore interface {
	// Authenticate returns the user of that name and password, or ErrCredentials.
	Authenticate(ctx context.Context, name, password string) (User, error)
	// Find returns a user as it is now, or ErrCredentials where there is none any more.
	Find(ctx context.Context, name string) (User, error)
}
