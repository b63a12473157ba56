package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/pg"
	"github.com/covetpy/covet/test/pg"
)

// database opens a real one.
func database(t *testing.T, cluster *pgtest.Cluster) *pg.DB {
	t.Helper()
	db, err := pg.Open(pg.Config{URL: cluster.DSN(), PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestUsersInPostgreSQL(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	users, ctx := NewUsers(database(t, cluster)), t.Context()
	if _, err := users.Authenticate(ctx, "ann", "correct horse"); !errors.Is(err, ErrCredentials) {
		t.Fatalf("without any table: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(users.Add(ctx, "root", User{Name: "ann", Roles: []string{"engineer"}}, "correct horse"))
	if err := users.Add(ctx, "root", User{Name: "ann"}, "other"); !errors.Is(err, ErrUserExists) {
		t.Errorf("a second ann: %v", err)
	}
	if err := users.Add(ctx, "root", User{Name: "a'; drop"}, "other"); err == nil {
		t.Error("a name with a quote was taken")
	}
	got, err := users.Authenticate(ctx, "ann", "correct horse")
	if err != nil || got.Name != "ann" || !slices.Equal(got.Roles, []string{"engineer"}) {
		t.Errorf("ann is %+v, %v", got, err)
	}
	for name, password := range map[string]string{"ann": "wrong", "bob": "correct horse", "": ""} {
		if _, err := users.Authenticate(ctx, name, password); !errors.Is(err, ErrCredentials) {
			t.Errorf("%q with %q: %v", name, password, err)
		}
	}
	if hash := cluster.One("SELECT hash FROM covet_users"); !strings.HasPrefix(hash, "$argon2id$") {
		t.Errorf("the password is kept as %q", hash)
	}
	must(users.SetRoles(ctx, "root", "ann", []string{"team-lead"}))
	must(users.SetPassword(ctx, "ann", "ann", "staple battery"))
	must(users.Disable(ctx, "root", "ann", true))
	if _, err := users.Authenticate(ctx, "ann", "staple battery"); !errors.Is(err, ErrCredentials) {
		t.Errorf("a disabled user: %v", err)
	}
	must(users.Disable(ctx, "root", "ann", false))
	if got, err := users.Authenticate(ctx, "ann", "staple battery"); err != nil || !slices.Equal(got.Roles, []string{"team-lead"}) {
		t.Errorf("ann is %+v, %v", got, err)
	}
	must(users.Remove(ctx, "root", "ann"))
	if err := users.Remove(ctx, "root", "ann"); !errors.Is(err, ErrNoUser) {
		t.Errorf("removed twice: %v", err)
	}
	changes, err := users.Changes(ctx, 100)
	must(err)
	if len(changes) != 6 || changes[0].Change != "removed" || changes[4].By != "ann" && changes[3].By != "ann" {
		t.Errorf("the log of changes is %+v", changes)
	}
}

func TestSessionsWhileTheDatabaseIsAway(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	tokens := newTokens(t, NewDatabase(database(t, cluster), time.Minute))
	kept, ended := issue(t, tokens), issue(t, tokens)
	if err := tokens.Revoke(t.Context(), ended.AccessToken); err != nil {
		t.Fatal(err)
	}
	cluster.Kill()
	start := time.Now()
	if _, err := tokens.Verify(t.Context(), kept.AccessToken); err != nil {
		t.Errorf("a token does not count while the database is away: %v", err)
	}
	if _, err := tokens.Verify(t.Context(), ended.AccessToken); !errors.Is(err, ErrRevoked) {
		t.Errorf("a revoked token while the database is away: %v", err)
	}
	if _, err := tokens.Refresh(t.Context(), kept.RefreshToken, findAlice); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a refresh while the database is away: %v", err)
	}
	t.Logf("answered within %v", time.Since(start))
}
