package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/redisdb"
	"github.com/covetpy/covet/server/redisdb/redistest"
)

// counted is a load function that counts its calls.
func counted(n *atomic.Int64) func(context.Context) (int64, error) {
	return func(context.Context) (int64, error) { return n.Add(1), nil }
}

func get(t *testing.T, c *Cache, key string, n *atomic.Int64, tags ...string) int64 {
	t.Helper()
	v, err := Fetch(t.Context(), c, key, Options{TTL: time.Minute, Tags: tags}, counted(n))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func withRedis(t *testing.T, r *redistest.Server) *Cache {
	t.Helper()
	db, err := redisdb.Open(r.URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := New(db, "test:")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s, and still not: %s", what)
		}
	}
}

func TestOneLoadsForAll(t *testing.T) {
	c := New(nil, "")
	var loads atomic.Int64
	var all sync.WaitGroup
	gate := make(chan struct{})
	for range 100 {
		all.Go(func() {
			v, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute}, func(context.Context) (int64, error) { <-gate; return loads.Add(1), nil })
			if err != nil || v != 1 {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	close(gate)
	all.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("loaded %d times", n)
	}
}

func TestWhoeverGivesUpDoesNotTakeTheOthersWithHim(t *testing.T) {
	c := New(nil, "")
	gate, began := make(chan struct{}), make(chan struct{})
	load := func(ctx context.Context) (int64, error) { close(began); <-gate; return 7, ctx.Err() }
	impatient, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := Fetch(impatient, c, "k", Options{TTL: time.Minute}, load); gone <- err }()
	<-began
	patient := make(chan int64, 1)
	go func() {
		v, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute}, load)
		if err != nil {
			t.Error(err)
		}
		patient <- v
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the impatient one got %v", err)
	}
	close(gate)
	if v := <-patient; v != 7 {
		t.Errorf("the patient one got %d", v)
	}
}

func TestInvalidationDuringALoad(t *testing.T) {
	c := New(nil, "")
	v, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute, Tags: []string{"a"}}, func(ctx context.Context) (string, error) {
		c.Invalidate(ctx, "a") // what was read is old before it is kept
		return "old", nil
	})
	if err != nil || v != "old" {
		t.Fatal(v, err)
	}
	v, err = Fetch(t.Context(), c, "k", Options{TTL: time.Minute, Tags: []string{"a"}}, func(context.Context) (string, error) { return "new", nil })
	if err != nil || v != "new" {
		t.Errorf("%q, %v: the value that was invalidated while it was loaded was kept", v, err)
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	c := New(nil, "")
	broken := errors.New("broken")
	_, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute}, func(context.Context) (int, error) { return 0, broken })
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if v, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute}, func(context.Context) (int, error) { return 3, nil }); v != 3 || err != nil {
		t.Error(v, err)
	}
}

func TestProcessesShareAndInvalidate(t *testing.T) {
	r := redistest.Start(t)
	a, b := withRedis(t, r), withRedis(t, r)
	var loads atomic.Int64
	if get(t, a, "k", &loads, "products", "shop") != 1 || get(t, b, "k", &loads, "products", "shop") != 1 {
		t.Fatal("the second process did not take what the first had loaded")
	}
	a.Invalidate(t.Context(), "products")
	if v := get(t, a, "k", &loads, "products", "shop"); v != 2 {
		t.Errorf("after its own invalidation a process reads %d", v)
	}
	eventually(t, "the other process hears of the invalidation", func() bool { return get(t, b, "k", &loads, "products", "shop") == 2 })

	r.Kill()
	b.Invalidate(t.Context(), "shop") // nobody can be told now
	if v := get(t, b, "k", &loads, "products", "shop"); v != 3 {
		t.Errorf("without Redis, after its own invalidation a process reads %d", v)
	}
	if v := get(t, a, "k", &loads, "products", "shop"); v != 2 {
		t.Errorf("without Redis the other process reads %d", v)
	}
	r.Run()
	eventually(t, "the invalidation arrives when Redis is back", func() bool { return get(t, a, "k", &loads, "products", "shop") > 2 })
}

func TestNobodyWaitsForRedis(t *testing.T) {
	r := redistest.Start(t)
	c := withRedis(t, r)
	var loads atomic.Int64
	get(t, c, "warm", &loads)
	r.Stop() // frozen: connections stay, and nothing answers
	worst := time.Duration(0)
	for i := range 50 {
		start := time.Now()
		get(t, c, fmt.Sprint("k", i), &loads, "tag")
		worst = max(worst, time.Since(start))
	}
	t.Logf("the longest wait was %v", worst)
	if worst > 5*time.Second {
		t.Errorf("a request waited %v", worst)
	}
	if get(t, c, "k49", &loads, "tag") != loads.Load() {
		t.Error("what was loaded without Redis was not kept here")
	}
}

func TestALoadThatPanicsIsAnError(t *testing.T) {
	c := New(nil, "")
	_, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute}, func(context.Context) (int, error) { panic("no prices") })
	if err == nil || !strings.Contains(err.Error(), "no prices") {
		t.Errorf("%v", err)
	}
	v, err := Fetch(t.Context(), c, "k", Options{TTL: time.Minute}, func(context.Context) (int, error) { return 7, nil })
	if err != nil || v != 7 {
		t.Errorf("afterwards: %d, %v", v, err)
	}
}

// Whoever looked a moment before another one's load was kept takes that, and loads nothing again.
func TestNoLoadFollowsOneThatWasKept(t *testing.T) {
	t.Parallel()
	c := New(nil, "")
	for i := range 5000 {
		var loads atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := c.Bytes(t.Context(), fmt.Sprint(i), func(context.Context) ([]byte, Options, error) {
					loads.Add(1)
					return []byte("x"), Options{TTL: time.Hour}, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := loads.Load(); n != 1 {
			t.Fatalf("key %d was loaded %d times", i, n)
		}
	}
}
