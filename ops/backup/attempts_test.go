package backup_test

import (
	"errors"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/ops/backup"
)

func repository(t *testing.T) backup.Repository {
	t.Helper()
	s, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return backup.Repository{Store: s, Where: "the test's"}
}

// Attempts come back oldest first, only the newest ones where there are many, and old ones are forgotten but for the last.
func TestAttempts(t *testing.T) {
	t.Parallel()
	r, ctx := repository(t), t.Context()
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	for i := range 5 {
		if err := r.SaveAttempt(ctx, "shop", &backup.Attempt{Kind: "backup", Began: at.AddDate(0, 0, i), OK: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.Attempts(ctx, "shop", "backup", 3)
	if err != nil || len(got) != 3 || !got[0].Began.Equal(at.AddDate(0, 0, 2)) || !got[2].OK || got[1].OK {
		t.Errorf("%+v %v", got, err)
	}
	if other, err := r.Attempts(ctx, "shop", "drill", 3); err != nil || len(other) != 0 {
		t.Errorf("of another kind: %+v %v", other, err)
	}
	if err := r.PruneAttempts(ctx, "shop", "backup", at.AddDate(0, 0, 92)); err != nil {
		t.Fatal(err)
	}
	if got, _ = r.Attempts(ctx, "shop", "backup", 9); len(got) != 3 {
		t.Errorf("after pruning: %+v", got)
	}
	if err := r.PruneAttempts(ctx, "shop", "backup", at.AddDate(2, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if got, _ = r.Attempts(ctx, "shop", "backup", 9); len(got) != 1 || !got[0].Began.Equal(at.AddDate(0, 0, 4)) {
		t.Errorf("the newest is gone: %+v", got)
	}
}

// Restores of a moment follow each other within a second, in which IDs sort at random.
func TestAttemptsOfOneSecond(t *testing.T) {
	t.Parallel()
	r, ctx := repository(t), t.Context()
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	for i := range 20 {
		if err := r.SaveAttempt(ctx, "shop", &backup.Attempt{Kind: "backup", Began: at.Add(time.Duration(i) * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.Attempts(ctx, "shop", "backup", 20)
	if err != nil || len(got) != 20 {
		t.Fatalf("%+v %v", got, err)
	}
	for i, a := range got {
		if want := at.Add(time.Duration(i) * time.Millisecond); !a.Began.Equal(want) {
			t.Fatalf("number %d began at %s, not %s", i, a.Began, want)
		}
	}
}

// One of two gets a lease; the other does once the first has given it back, or has been silent for long.
func TestLease(t *testing.T) {
	t.Parallel()
	r, ctx := repository(t), t.Context()
	now := time.Now()
	_, first, err := r.Acquire(ctx, "shop", "backup", now)
	if err != nil {
		t.Fatal(err)
	}
	var leased *backup.LeasedError
	if _, _, err := r.Acquire(ctx, "shop", "backup", now); !errors.As(err, &leased) || leased.PID == 0 || leased.Host == "" {
		t.Errorf("a second one: %v", err)
	}
	_, other, err := r.Acquire(ctx, "shop", "drill", now)
	if err != nil {
		t.Fatalf("another job: %v", err)
	}
	held, taken, err := r.Acquire(ctx, "shop", "backup", now.Add(5*time.Minute))
	if err != nil {
		t.Fatalf("after the holder's silence: %v", err)
	}
	if err := first.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Acquire(ctx, "shop", "backup", now); !errors.Is(err, backup.ErrLeased) {
		t.Errorf("the late release of the dead took the living's: %v", err)
	}
	if held.Err() != nil {
		t.Error("the lease is lost")
	}
	for _, l := range []*backup.Lease{taken, other} {
		if err := l.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, l, err := r.Acquire(ctx, "shop", "backup", now); err != nil {
		t.Errorf("after the release: %v", err)
	} else if err := l.Release(ctx); err != nil {
		t.Error(err)
	}
}
