package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/redisdb"
	"github.com/covetpy/covet/server/redisdb/redistest"
	"github.com/covetpy/covet/test/pg"
	"github.com/golang-jwt/jwt/v5"
)

func newTokens(t *testing.T, families Families, change ...func(*Config)) *Tokens {
	t.Helper()
	cfg := Config{Key: []byte(strings.Repeat("k", 64)), Algorithm: "HS256", Issuer: "shop", Audience: "shop", AccessTTL: time.Minute, RefreshTTL: time.Hour}
	for _, f := range change {
		f(&cfg)
	}
	tokens, err := NewTokens(cfg, families)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

var alice = User{Name: "alice", Roles: []string{"engineer"}}

func findAlice(_ context.Context, name string) (User, error) {
	if name != alice.Name {
		return User{}, ErrCredentials
	}
	return alice, nil
}

func issue(t *testing.T, tokens *Tokens) Pair {
	t.Helper()
	pair, err := tokens.Issue(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// stores are all kinds of Families, the shared ones through two connections.
func stores(t *testing.T) map[string][2]Families {
	r := redistest.Start(t)
	open := func() Families {
		db, err := redisdb.Open(r.URL(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return NewShared(db, "test:", time.Minute)
	}
	m := NewMemory()
	cluster := pgtest.Start(t, pgtest.Options{})
	return map[string][2]Families{
		"memory": {m, m}, "redis": {open(), open()},
		"postgres": {NewDatabase(database(t, cluster), time.Minute), NewDatabase(database(t, cluster), time.Minute)},
	}
}

func TestRotationAndReuse(t *testing.T) {
	t.Parallel()
	for name, both := range stores(t) {
		one, two := newTokens(t, both[0]), newTokens(t, both[1])
		first, other := issue(t, one), issue(t, one)
		p, err := two.Verify(t.Context(), first.AccessToken)
		if err != nil || p.User != "alice" || !p.HasRole("engineer") || p.HasRole("team-lead") {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
		second, err := two.Refresh(t.Context(), first.RefreshToken, findAlice)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := one.Refresh(t.Context(), first.RefreshToken, findAlice); !errors.Is(err, ErrReused) {
			t.Errorf("%s: a replayed refresh token: %v", name, err)
		}
		if _, err := one.Refresh(t.Context(), second.RefreshToken, findAlice); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s: the newest token of a revoked family: %v", name, err)
		}
		for _, token := range []string{first.AccessToken, second.AccessToken} {
			if _, err := one.Verify(t.Context(), token); !errors.Is(err, ErrRevoked) {
				t.Errorf("%s: an access token of a revoked family: %v", name, err)
			}
		}
		if _, err := one.Verify(t.Context(), other.AccessToken); err != nil {
			t.Errorf("%s: another family: %v", name, err)
		}
		// The other process has the token in its cache, and learns of the revocation all the same.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, err := two.Verify(t.Context(), first.AccessToken); errors.Is(err, ErrRevoked) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the revocation never arrives", name)
			}
		}
	}
}

func TestRefreshIsGrantedOnce(t *testing.T) {
	t.Parallel()
	for name, both := range stores(t) {
		one, two := newTokens(t, both[0]), newTokens(t, both[1])
		pair := issue(t, one)
		var granted atomic.Int32
		var wg sync.WaitGroup
		for _, tokens := range []*Tokens{one, two, one, two} {
			wg.Go(func() {
				if _, err := tokens.Refresh(t.Context(), pair.RefreshToken, findAlice); err == nil {
					granted.Add(1)
				}
			})
		}
		wg.Wait()
		if n := granted.Load(); n != 1 {
			t.Errorf("%s: granted %d times", name, n)
		}
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, NewMemory())
	pair := issue(t, tokens)
	if _, err := tokens.Verify(t.Context(), pair.AccessToken); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Revoke(t.Context(), pair.RefreshToken); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Verify(t.Context(), pair.AccessToken); !errors.Is(err, ErrRevoked) {
		t.Errorf("a cached token after its revocation: %v", err)
	}
	if err := tokens.Revoke(t.Context(), "nonsense"); err != nil {
		t.Errorf("revoking nonsense: %v", err)
	}
}

func TestVerifyRefusesForgeries(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, NewMemory())
	good := issue(t, tokens)
	key := []byte(strings.Repeat("k", 64))
	sign := func(method jwt.SigningMethod, key any, change func(*claims)) string {
		c := claims{Use: useAccess, Family: "f", Roles: []string{"team-lead"}, RegisteredClaims: jwt.RegisteredClaims{Issuer: "shop",
			Audience: jwt.ClaimStrings{"shop"}, Subject: "mallory", ID: "1", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}}
		if change != nil {
			change(&c)
		}
		text, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if _, err := tokens.Verify(t.Context(), sign(jwt.SigningMethodHS256, key, nil)); err != nil {
		t.Fatalf("the same, right: %v", err)
	}
	parts := strings.Split(good.AccessToken, ".")
	other := strings.Split(sign(jwt.SigningMethodHS256, []byte("other key"), nil), ".")
	ours, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"alg RS256":      sign(jwt.SigningMethodRS256, ours, nil),
		"alg none":       sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
		"alg HS512":      sign(jwt.SigningMethodHS512, key, nil),
		"wrong key":      sign(jwt.SigningMethodHS256, []byte("other key"), nil),
		"empty key":      sign(jwt.SigningMethodHS256, []byte{}, nil),
		"no signature":   parts[0] + "." + parts[1] + ".",
		"other's claims": parts[0] + "." + other[1] + "." + parts[2],
		"wrong issuer":   sign(jwt.SigningMethodHS256, key, func(c *claims) { c.Issuer = "other" }),
		"wrong audience": sign(jwt.SigningMethodHS256, key, func(c *claims) { c.Audience = jwt.ClaimStrings{"other"} }),
		"no expiry":      sign(jwt.SigningMethodHS256, key, func(c *claims) { c.ExpiresAt = nil }),
		"not yet":        sign(jwt.SigningMethodHS256, key, func(c *claims) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) }),
		"nobody":         sign(jwt.SigningMethodHS256, key, func(c *claims) { c.Subject = "" }),
		"no family":      sign(jwt.SigningMethodHS256, key, func(c *claims) { c.Family = "" }),
		"refresh":        good.RefreshToken,
		"huge":           strings.Repeat("x", maxToken+1),
		"nonsense":       "a.b.c",
		"empty":          "",
	} {
		if p, err := tokens.Verify(t.Context(), token); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	expired := sign(jwt.SigningMethodHS256, key, func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Second)) })
	if _, err := tokens.Verify(t.Context(), expired); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	if _, err := tokens.Refresh(t.Context(), good.AccessToken, findAlice); !errors.Is(err, ErrToken) {
		t.Errorf("an access token to refresh with: %v", err)
	}
	if n := tokens.cache.size(); n != 1 {
		t.Errorf("%d tokens are cached, want the one that was right", n)
	}
	if _, err := NewTokens(Config{Key: key, Algorithm: "RS256"}, NewMemory()); err == nil {
		t.Error("RS256 is taken for an algorithm")
	}
}

func TestCachedTokenExpiresAndCacheIsBounded(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, NewMemory(), func(c *Config) { c.AccessTTL = 2 * time.Second })
	pair := issue(t, tokens)
	if _, err := tokens.Verify(t.Context(), pair.AccessToken); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := tokens.Verify(t.Context(), pair.AccessToken); errors.Is(err, ErrExpired) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a cached token never expires")
		}
	}
	c := newCache()
	for i := range 3 * cacheShards * cacheShard {
		c.put(fmt.Sprint(i), &verified{})
	}
	if n := c.size(); n > cacheShards*cacheShard {
		t.Errorf("%d tokens are cached", n)
	}
}

// Without Redis nobody gets new tokens, and those out there count, but for what was seen revoked.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	db, err := redisdb.Open(r.URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tokens := newTokens(t, NewShared(db, "test:", time.Minute))
	good, bad, unseen := issue(t, tokens), issue(t, tokens), issue(t, tokens)
	if err := tokens.Revoke(t.Context(), bad.AccessToken); err != nil {
		t.Fatal(err)
	}
	r.Kill()
	for name, c := range map[string]struct {
		token string
		want  error
	}{"good": {good.AccessToken, nil}, "unseen": {unseen.AccessToken, nil}, "revoked": {bad.AccessToken, ErrRevoked}} {
		if _, err := tokens.Verify(t.Context(), c.token); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tokens.Refresh(t.Context(), good.RefreshToken, findAlice); !errors.Is(err, ErrUnavailable) {
		t.Errorf("refresh: %v", err)
	}
	if _, err := tokens.Issue(t.Context(), alice); !errors.Is(err, ErrUnavailable) {
		t.Errorf("issue: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := NewMemory()
	m.limit = 2
	if err := errors.Join(m.Begin(t.Context(), "a", "1", -time.Second), m.Begin(t.Context(), "b", "1", time.Hour), m.Begin(t.Context(), "c", "1", time.Hour)); err != nil {
		t.Errorf("an expired family makes no room: %v", err)
	}
	if err := m.Begin(t.Context(), "d", "1", time.Hour); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a full store: %v", err)
	}
	if err := m.Revoke(t.Context(), "c", time.Hour); err != nil {
		t.Errorf("a full store cannot revoke: %v", err)
	}
}

func TestUsersFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users")
	add := func(name, password string, roles ...string) {
		t.Helper()
		if err := AddUser(path, User{Name: name, Roles: roles}, password); err != nil {
			t.Fatal(err)
		}
	}
	add("alice", "first")
	add("bob", "bob's")
	add("alice", "second", "engineer", "on-call-lead")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	f, err := OpenUsersFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u, err := f.Authenticate(t.Context(), "alice", "second")
	if err != nil || strings.Join(u.Roles, " ") != "engineer on-call-lead" {
		t.Errorf("%+v, %v", u, err)
	}
	for name, password := range map[string]string{"alice": "first", "bob": "", "carol": "x", "": "", "bob ": "bob's", "Bob": "bob's"} {
		if _, err := f.Authenticate(t.Context(), name, password); !errors.Is(err, ErrCredentials) {
			t.Errorf("%q %q: %v", name, password, err)
		}
	}
	if _, err := f.Authenticate(t.Context(), "bob", strings.Repeat("x", MaxPassword+1)); !errors.Is(err, ErrCredentials) {
		t.Errorf("an endless password: %v", err)
	}
	for _, bad := range []User{{Name: "a:b"}, {Name: ""}, {Name: "a\nb"}, {Name: "a", Roles: []string{"x,y"}}} {
		if err := AddUser(path, bad, "x"); err == nil {
			t.Errorf("%q is taken", bad.Name)
		}
	}
	if err := os.WriteFile(path, []byte("# comment\nalice\nbob:hash:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a broken file: %v", err)
	}
	if _, err := f.Find(t.Context(), "alice"); err != nil {
		t.Errorf("a broken file replaces the users: %v", err)
	}
}

func FuzzParseUsers(f *testing.F) {
	hash, err := HashPassword("x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("alice:" + hash + ":a,b\n#c\n")
	f.Add("a:$argon2id$v=19$m=8,t=1,p=0$AAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAA:")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := parseUsers(text)
		if err != nil {
			return
		}
		for name, s := range users {
			if s.user.Name != name || s.user.check() != nil || s.hash.lanes < 1 || s.hash.memory > maxMemory {
				t.Errorf("%q: %+v", name, s)
			}
		}
	})
}

func BenchmarkVerifyCached(b *testing.B) {
	tokens, err := NewTokens(Config{Key: []byte("k"), Algorithm: "HS256", Issuer: "s", Audience: "s", AccessTTL: time.Hour, RefreshTTL: time.Hour}, NewMemory())
	if err != nil {
		b.Fatal(err)
	}
	pair, err := tokens.Issue(b.Context(), alice)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Verify(b.Context(), pair.AccessToken); err != nil {
			b.Fatal(err)
		}
	}
}

// size is how many tokens are remembered.
func (c *cache) size() int {
	n := 0
	for i := range c.shards {
		p := &c.shards[i]
		p.mu.RLock()
		n += len(p.tokens)
		p.mu.RUnlock()
	}
	return n
}
