package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Config says how tokens are made and what they must be.
type Config struct {
	Key        []byte
	Algorithm  string // HS256, HS384 or HS512; no other is ever accepted
	Issuer     string
	Audience   string
	AccessTTL  time.Duration
	RefreshTTL time.Duration
}

// Pair is what a client gets. Its fields are those of RFC 6749, 5.1.
type Pair struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds, of the access token
}

// Uses of a token, so that a refresh token opens nothing.
const (
	useAccess  = "access"
	useRefresh = "refresh"
)

// claims is what a token says.
type claims struct {
	jwt.RegisteredClaims
	Use    string   `json:"use"`
	Family string   `json:"fam"`
	Roles  []string `json:"roles,omitempty"`
}

// Tokens makes tokens and knows them again. Its methods are safe for concurrent use.
type Tokens struct {
	cfg      Config
	method   jwt.SigningMethod
	parser   *jwt.Parser
	families Families
	cache    *cache
	epoch    atomic.Uint64 // grows with each revocation here, so that what is cached is asked about anew
}

// NewTokens makes it. The algorithm must be one of the HMAC family.
func NewTokens(cfg Config, families Families) (*Tokens, error) {
	method, ok := jwt.GetSigningMethod(cfg.Algorithm).(*jwt.SigningMethodHMAC)
	if !ok || len(cfg.Key) == 0 {
		return nil, fmt.Errorf("tokens need a key and HS256, HS384 or HS512, not %q", cfg.Algorithm)
	}
	return &Tokens{
		cfg: cfg, method: method, families: families, cache: newCache(),
		parser: jwt.NewParser(jwt.WithValidMethods([]string{method.Alg()}), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
			jwt.WithExpirationRequired(), jwt.WithStrictDecoding()),
	}, nil
}

// Issue makes the first pair of a new family.
func (t *Tokens) Issue(ctx context.Context, u User) (Pair, error) {
	family, id := rand.Text(), rand.Text()
	if err := t.families.Begin(ctx, family, id, t.cfg.RefreshTTL); err != nil {
		return Pair{}, fmt.Errorf("begin a session: %w", err)
	}
	return t.pair(u, family, id)
}

// Refresh takes a refresh token and makes the next pair of its family, for the user as find knows it now.
func (t *Tokens) Refresh(ctx context.Context, token string, find func(ctx context.Context, name string) (User, error)) (Pair, error) {
	c, err := t.parse(token, useRefresh)
	if err != nil {
		return Pair{}, err
	}
	u, err := find(ctx, c.Subject)
	if err != nil {
		return Pair{}, err
	}
	id := rand.Text()
	if err := t.families.Rotate(ctx, c.Family, c.ID, id, t.cfg.RefreshTTL); err != nil {
		if errors.Is(err, ErrReused) {
			t.epoch.Add(1)
		}
		return Pair{}, err
	}
	return t.pair(u, c.Family, id)
}

// Revoke ends the family of a token of either use. One that is none of ours, or has expired, needs no ending.
func (t *Tokens) Revoke(ctx context.Context, token string) error {
	c, err := t.parse(token, "")
	if err != nil {
		return nil // RFC 7009, 2.2: an invalid token is no error
	}
	defer t.epoch.Add(1)
	return t.families.Revoke(ctx, c.Family, t.cfg.RefreshTTL)
}

func (t *Tokens) pair(u User, family, refreshID string) (Pair, error) {
	now := time.Now()
	access, err := t.sign(claims{Use: useAccess, Family: family, Roles: u.Roles}, u.Name, rand.Text(), now, t.cfg.AccessTTL)
	if err != nil {
		return Pair{}, err
	}
	refresh, err := t.sign(claims{Use: useRefresh, Family: family}, u.Name, refreshID, now, t.cfg.RefreshTTL)
	if err != nil {
		return Pair{}, err
	}
	return Pair{AccessToken: access, RefreshToken: refresh, TokenType: "Bearer", ExpiresIn: int(t.cfg.AccessTTL / time.Second)}, nil
}

func (t *Tokens) sign(c claims, user, id string, now time.Time, ttl time.Duration) (string, error) {
	c.RegisteredClaims = jwt.RegisteredClaims{Issuer: t.cfg.Issuer, Audience: jwt.ClaimStrings{t.cfg.Audience}, Subject: user, ID: id,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl))}
	text, err := jwt.NewWithClaims(t.method, c).SignedString(t.cfg.Key)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}

// maxToken is the longest token that is looked at.
const maxToken = 8 << 10

// parse checks everything about a token but its revocation. An empty use accepts any.
func (t *Tokens) parse(token, use string) (*claims, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrToken, len(token))
	}
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return t.cfg.Key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, ErrExpired
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	case c.Subject == "" || c.Family == "" || c.ID == "" || (use != "" && c.Use != use):
		return nil, fmt.Errorf("%w: it is no %s token", ErrToken, use)
	}
	return &c, nil
}

// recheck is how long another process's revocation may go unnoticed.
const recheck = time.Second

// Verify returns who an access token speaks for. The signature of one that was verified before is not computed again;
// its expiry is looked at each time, and its revocation each second and after each revocation of this process. While
// the store of families is away, what this process has not seen revoked counts until it expires.
func (t *Tokens) Verify(ctx context.Context, token string) (*Principal, error) {
	now, epoch := time.Now(), t.epoch.Load()
	v := t.cache.get(token)
	if v == nil {
		c, err := t.parse(token, useAccess)
		if err != nil {
			return nil, err
		}
		v = &verified{principal: &Principal{User: c.Subject, Roles: c.Roles, Expires: c.ExpiresAt.Time, family: c.Family}}
	} else if v.fresh(now, epoch) {
		return v.principal, nil
	}
	if !now.Before(v.principal.Expires) {
		t.cache.drop(token)
		return nil, ErrExpired
	}
	ended, err := t.families.Revoked(ctx, v.principal.family)
	if ended {
		t.cache.drop(token)
		return nil, ErrRevoked
	}
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	t.cache.put(token, &verified{principal: v.principal, checked: now, epoch: epoch})
	return v.principal, nil
}
