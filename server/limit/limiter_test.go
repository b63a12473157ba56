package limit

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/redisdb"
	"github.com/covetpy/covet/server/redisdb/redistest"
)

func perMinute(limit, burst, hour int) Rules {
	return Rules{{Name: "minute", Limit: limit, Window: time.Minute, Burst: burst}, {Name: "hour", Limit: hour, Window: time.Hour, Burst: hour}}
}

// atClock sets a limiter's clock, which stands until it is moved.
func atClock(l *Limiter) *atomic.Int64 {
	var now atomic.Int64
	now.Store(int64(time.Hour))
	l.clock = now.Load
	return &now
}

func allowed(t *testing.T, l *Limiter, address, user string, n int) int {
	t.Helper()
	ok := 0
	for range n {
		if l.Take(t.Context(), address, user).Allowed {
			ok++
		}
	}
	return ok
}

func TestLocalBurstThenRate(t *testing.T) {
	t.Parallel()
	l := New(perMinute(60, 20, 1000), nil, "")
	now := atClock(l)
	if n := allowed(t, l, "192.0.2.1", "", 50); n != 20 {
		t.Errorf("%d of a burst were let through, want 20", n)
	}
	v := l.Take(t.Context(), "192.0.2.1", "")
	if v.Allowed || v.RetryAfter != time.Second || v.RetrySeconds() != "1" || l.rules.Header(v) != `"minute";r=0;t=20, "hour";r=980;t=72` {
		t.Errorf("%+v, %s", v, l.rules.Header(v))
	}
	now.Add(int64(5 * time.Second))
	if n := allowed(t, l, "192.0.2.1", "", 50); n != 5 {
		t.Errorf("%d after five seconds, want 5", n)
	}
	if n := allowed(t, l, "192.0.2.2", "", 50); n != 20 {
		t.Errorf("%d of another address, want 20", n)
	}
	if got := l.rules.Policy(); got != `"minute";q=60;w=60, "hour";q=1000;w=3600` {
		t.Error(got)
	}
}

func TestLocalHour(t *testing.T) {
	t.Parallel()
	l := New(perMinute(60, 20, 100), nil, "")
	now := atClock(l)
	total := 0
	for range 600 { // ten minutes, a second each
		now.Add(int64(time.Second))
		total += allowed(t, l, "192.0.2.1", "", 3)
	}
	if total < 110 || total > 118 {
		t.Errorf("%d in ten minutes, want the hour's 100 and what ten minutes add", total)
	}
}

func TestUserAndAddress(t *testing.T) {
	t.Parallel()
	l := New(perMinute(60, 20, 0), nil, "")
	atClock(l)
	n := 0
	for i := range 100 {
		n += allowed(t, l, fmt.Sprintf("192.0.2.%d", i), "alice", 1)
	}
	if n != 20 {
		t.Errorf("a user of many addresses got %d, want 20", n)
	}
	if n := allowed(t, l, "192.0.2.99", "bob", 50); n != 20 {
		t.Errorf("an address whose requests were refused for another's user got %d, want 20", n)
	}
}

func TestNetworkOfSixIsOneClient(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:aaaa::1": "2001:db8:1:2::", "2001:db8:1:2:bbbb::2": "2001:db8:1:2::", "@": "@", "a:b": "a:b"} {
		if got := Network(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// A flood of addresses must cost bounded memory, and free nobody who has reached the limit.
func TestTableIsBoundedAndForgetsTheLeast(t *testing.T) {
	t.Parallel()
	l := New(perMinute(60, 20, 1000), nil, "")
	now := atClock(l)
	allowed(t, l, "limited", "", 30)
	for i := range 4 * maxClients {
		l.Take(t.Context(), fmt.Sprint(i), "")
	}
	if n := l.Clients(); n > maxClients {
		t.Errorf("%d clients are remembered, want at most %d", n, maxClients)
	}
	if l.Take(t.Context(), "limited", "").Allowed {
		t.Error("the flood has freed a limited client")
	}
	now.Add(int64(24 * time.Hour))
	for i := range 50 * shardCount {
		l.Take(t.Context(), fmt.Sprint("new", i), "")
	}
	if n := l.Clients(); n > 50*shardCount {
		t.Errorf("%d clients are remembered a day later", n)
	}
}

func TestLocalIsExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	l := New(perMinute(60, 20, 1000), nil, "")
	atClock(l)
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { ok.Add(int64(allowed(t, l, "192.0.2.1", "alice", 200))) })
	}
	wg.Wait()
	if n := ok.Load(); n != 20 {
		t.Errorf("%d, want 20", n)
	}
}

func openRedis(t *testing.T, url string) *redisdb.DB {
	t.Helper()
	db, err := redisdb.Open(url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// whileShared calls f until all verdicts of one call came from Redis, which on a busy machine may not answer in time.
func whileShared(t *testing.T, f func(one, two *Limiter) (shared bool)) {
	t.Helper()
	r := redistest.Start(t)
	rules := perMinute(6, 20, 1000) // a request every ten seconds: none comes back within the test
	for attempt := range 20 {
		prefix := fmt.Sprintf("test%d:", attempt)
		one, two := New(rules, openRedis(t, r.URL()), prefix), New(rules, openRedis(t, r.URL()), prefix)
		allowed(t, one, "192.0.2.99", "", 1) // which connects
		allowed(t, two, "192.0.2.99", "", 1)
		if f(one, two) {
			return
		}
	}
	t.Fatal("each time something was decided locally")
}

func TestSharedCountsTogether(t *testing.T) {
	t.Parallel()
	whileShared(t, func(one, two *Limiter) bool {
		take := func(l *Limiter, address, user string, n int) (through int, shared bool) {
			shared = true
			for range n {
				v := l.Take(t.Context(), address, user)
				shared = shared && !v.Local
				if v.Allowed {
					through++
				} else if v.RetryAfter <= 0 || v.RetryAfter > 10*time.Second {
					t.Fatalf("retry after %v", v.RetryAfter)
				}
			}
			return through, shared
		}
		a, sharedA := take(one, "192.0.2.1", "alice", 15)
		b, sharedB := take(two, "192.0.2.1", "alice", 15)
		c, sharedC := take(one, "192.0.2.1", "bob", 1)
		d, sharedD := take(one, "192.0.2.2", "bob", 30)
		if !sharedA || !sharedB || !sharedC || !sharedD {
			return false
		}
		if a+b != 20 {
			t.Errorf("two processes let %d through, want 20", a+b)
		}
		if c != 0 {
			t.Error("another user of the address is let through")
		}
		if d != 20 {
			t.Errorf("another user of another address got %d", d)
		}
		return true
	})
}

// Many requests of a client at once are let through exactly as often as one after the other, together in two processes.
func TestSharedIsExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	whileShared(t, func(one, two *Limiter) bool {
		var through [3]atomic.Int64
		var local atomic.Bool
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				user := i % len(through)
				for range 20 {
					v := []*Limiter{one, two}[i%2].Take(t.Context(), fmt.Sprint("192.0.2.", user), fmt.Sprint("user", user))
					if v.Local {
						local.Store(true)
					}
					if v.Allowed {
						through[user].Add(1)
					} else if v.RetryAfter <= 0 || v.RetryAfter > 11*time.Second {
						t.Errorf("retry after %v", v.RetryAfter)
					}
				}
			})
		}
		wg.Wait()
		if local.Load() {
			return false
		}
		for i := range through {
			if n := through[i].Load(); n != 20 {
				t.Errorf("client %d: %d let through, want 20", i, n)
			}
		}
		return true
	})
}

// Redis is killed, gone for a while and restarted empty: nobody who has used up the limit gets another burst, nobody
// waits, and afterwards it is used again.
func TestLimitsOutliveRedis(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	l := New(perMinute(6, 20, 1000), openRedis(t, r.URL()), "test:")
	take := func(address string, n int) (ok int) {
		t.Helper()
		for range n {
			begun := time.Now()
			if l.Take(t.Context(), address, "").Allowed {
				ok++
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("a decision took %v", took)
			}
		}
		return ok
	}
	if n := take("192.0.2.1", 30) + take("192.0.2.2", 15); n != 35 {
		t.Errorf("with redis: %d, want 35", n)
	}
	r.Kill()
	if n := take("192.0.2.1", 30) + take("192.0.2.2", 15) + take("192.0.2.3", 30); n != 25 {
		t.Errorf("while it is away: %d, want the 5 left of one and the 20 of a new one", n)
	}
	r.Run()
	for deadline := time.Now().Add(20 * time.Second); l.Take(t.Context(), "192.0.2.9", "").Local; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis is not used again")
		}
	}
	if n := take("192.0.2.1", 30) + take("192.0.2.2", 30) + take("192.0.2.3", 30); n != 0 {
		t.Errorf("after an empty restart: %d got through, want none", n)
	}
	r.Stop()
	if n := take("192.0.2.1", 30); n != 0 {
		t.Errorf("while it hangs: %d", n)
	}
	r.Continue()
}

func BenchmarkLimitLocal(b *testing.B) {
	l := New(perMinute(60_000_000, 20, 0), nil, "")
	b.ReportAllocs()
	for b.Loop() {
		l.Take(b.Context(), "192.0.2.1", "alice")
	}
}
