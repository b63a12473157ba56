package auth

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Families knows of each family of tokens which refresh token is the newest, and whether it was revoked.
type Families interface {
	// Begin makes a family with its first refresh token.
	Begin(ctx context.Context, family, token string, ttl time.Duration) error
	// Rotate puts a new refresh token in the place of the newest. It returns ErrRevoked where the family was revoked or
	// is not known, and ErrReused, after revoking it, where old is not the newest.
	Rotate(ctx context.Context, family, old, next string, ttl time.Duration) error
	// Revoke ends a family.
	Revoke(ctx context.Context, family string, ttl time.Duration) error
	// Revoked says whether a family was ended. A family that is not known was not.
	Revoked(ctx context.Context, family string) (bool, error)
}

// revoked is what stands in the place of the newest token of a family that has ended.
const revoked = "revoked"

// Memory holds families in this process: other processes do not know of them, and they end with it.
type Memory struct {
	mu       sync.Mutex
	families map[string]member
	limit    int
}

type member struct {
	token   string
	expires time.Time
}

// maxFamilies is how many families a process holds: about 20 MB.
const maxFamilies = 100_000

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{families: map[string]member{}, limit: maxFamilies} }

// Begin makes a family.
func (m *Memory) Begin(_ context.Context, family, token string, ttl time.Duration) error {
	return m.put(family, token, ttl)
}

// put stores under a limit. Families that have expired make room; where none has, nothing is forgotten.
func (m *Memory) put(family, token string, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.families[family]; !ok && len(m.families) >= m.limit {
		now := time.Now()
		for f, known := range m.families {
			if now.After(known.expires) {
				delete(m.families, f)
			}
		}
		if len(m.families) >= m.limit {
			return fmt.Errorf("%w: %d sessions are open, which is all that fit in memory; set REDIS_URL", ErrUnavailable, m.limit)
		}
	}
	m.families[family] = member{token, time.Now().Add(ttl)}
	return nil
}

// Rotate replaces the newest token.
func (m *Memory) Rotate(_ context.Context, family, old, next string, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.families[family]
	if !ok || known.token == revoked || time.Now().After(known.expires) {
		return ErrRevoked
	}
	if known.token != old {
		m.families[family] = member{revoked, time.Now().Add(ttl)}
		return ErrReused
	}
	m.families[family] = member{next, time.Now().Add(ttl)}
	return nil
}

// Revoke ends a family.
func (m *Memory) Revoke(_ context.Context, family string, ttl time.Duration) error {
	return m.put(family, revoked, ttl)
}

// Revoked says whether a family was ended.
func (m *Memory) Revoked(_ context.Context, family string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.families[family].token == revoked, nil
}

//go:embed families.lua
var familiesSource string

// Scripts runs scripts in Redis, and fails soon where it is away.
type Scripts interface {
	Run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error)
}

// Shared holds families in Redis. What this process has seen revoked it remembers for when Redis is away.
type Shared struct {
	redis  Scripts
	script *redis.Script
	prefix string
	seen   *Memory
	forTTL time.Duration // how long an access token can outlive its family
}

// NewShared returns a store whose keys begin with the prefix. accessTTL is how long access tokens live.
func NewShared(scripts Scripts, prefix string, accessTTL time.Duration) *Shared {
	return &Shared{redis: scripts, script: redis.NewScript(familiesSource), prefix: prefix, seen: NewMemory(), forTTL: accessTTL}
}

// Answers of the script.
const (
	answerDone int64 = iota
	answerRevoked
	answerReused
)

func (s *Shared) ask(ctx context.Context, family string, args ...any) error {
	answer, err := s.redis.Run(ctx, s.script, []string{s.prefix + family}, args...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch answer {
	case answerDone:
		return nil
	case answerRevoked:
		err = ErrRevoked
	case answerReused:
		err = ErrReused
	default:
		return fmt.Errorf("%w: the script answers %v", ErrUnavailable, answer)
	}
	// Remembering it may fail where a hundred thousand are remembered already; Redis still knows.
	_ = s.seen.Revoke(ctx, family, s.forTTL)
	return err
}

// Begin makes a family.
func (s *Shared) Begin(ctx context.Context, family, token string, ttl time.Duration) error {
	return s.ask(ctx, family, "begin", ttl.Milliseconds(), token)
}

// Rotate replaces the newest token.
func (s *Shared) Rotate(ctx context.Context, family, old, next string, ttl time.Duration) error {
	return s.ask(ctx, family, "rotate", ttl.Milliseconds(), old, next)
}

// Revoke ends a family.
func (s *Shared) Revoke(ctx context.Context, family string, ttl time.Duration) error {
	if err := s.ask(ctx, family, "begin", ttl.Milliseconds(), revoked); err != nil {
		return err
	}
	return s.seen.Revoke(ctx, family, s.forTTL)
}

// Revoked says whether a family was ended. While Redis is away it says so of those that this process has seen ended.
func (s *Shared) Revoked(ctx context.Context, family string) (bool, error) {
	if known, err := s.seen.Revoked(ctx, family); known || err != nil {
		return known, err
	}
	err := s.ask(ctx, family, "look", 0)
	if errors.Is(err, ErrRevoked) {
		return true, nil
	}
	return false, err
}
