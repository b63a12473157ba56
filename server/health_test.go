package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/covetpy/covet/server/config"
)

func newTestHealth(checks ...Check) *Health {
	h := &Health{version: "v1", phase: func() string { return "" }, log: slog.New(slog.DiscardHandler)}
	for _, c := range checks {
		h.Register(c)
	}
	return h
}

func TestHealthStates(t *testing.T) {
	t.Parallel()
	good := func(context.Context) error { return nil }
	bad := func(context.Context) error { return errors.New("refused") }
	for name, c := range map[string]struct {
		checks []Check
		want   string
	}{
		"nothing":           {nil, Healthy},
		"all good":          {[]Check{{Name: "db", Required: true, Run: good}, {Name: "mail", Run: good}}, Healthy},
		"optional fails":    {[]Check{{Name: "db", Required: true, Run: good}, {Name: "mail", Run: bad}}, Degraded},
		"required fails":    {[]Check{{Name: "mail", Run: bad}, {Name: "db", Required: true, Run: bad}}, Unhealthy},
		"required panics":   {[]Check{{Name: "db", Required: true, Run: func(context.Context) error { panic("x") }}}, Unhealthy},
		"required too late": {[]Check{{Name: "db", Required: true, Timeout: time.Millisecond, Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}}, Unhealthy},
	} {
		r := newTestHealth(c.checks...).Ready(t.Context())
		if r.Status != c.want || len(r.Checks) != len(c.checks) {
			t.Errorf("%s: %+v, want %s", name, r, c.want)
		}
		for check, result := range r.Checks {
			if (result.Status == Healthy) != (result.Error == "") {
				t.Errorf("%s: %s: %+v", name, check, result)
			}
		}
	}
}

func TestHealthRunsInParallelOnceAndCaches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		slow := func(context.Context) error { runs.Add(1); time.Sleep(time.Second); return nil }
		h := newTestHealth(Check{Name: "a", Run: slow}, Check{Name: "b", Run: slow}, Check{Name: "c", Run: slow})
		begun := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { h.Ready(t.Context()) })
		}
		wg.Wait()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("three checks of a second took %v", took)
		}
		time.Sleep(999 * time.Millisecond)
		h.Ready(t.Context())
		if n := runs.Load(); n != 3 {
			t.Errorf("%d runs of three checks for 11 who ask within a second", n)
		}
		time.Sleep(time.Millisecond)
		h.Ready(t.Context())
		if n := runs.Load(); n != 6 {
			t.Errorf("%d runs after the cache has expired, want 6", n)
		}
	})
}

// A check that ignores its context must neither hang the page nor be started again and again.
func TestHealthCheckThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		release := make(chan struct{})
		h := newTestHealth(Check{Name: "stuck", Required: true, Timeout: 100 * time.Millisecond, Run: func(context.Context) error {
			runs.Add(1)
			<-release
			return nil
		}})
		for range 5 {
			if r := h.Ready(t.Context()); r.Status != Unhealthy {
				t.Errorf("%+v", r)
			}
			time.Sleep(2 * time.Second)
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("started %d times", n)
		}
		close(release)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		if r := h.Ready(t.Context()); r.Status != Healthy {
			t.Errorf("after it returned: %+v", r)
		}
	})
}

func TestHealthPages(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s := serveStack(t, config.Config{Version: "v9"}, func(s *Server) {
		s.Health().Register(Check{Name: "db", Required: true, Timeout: time.Second, Run: func(context.Context) error {
			if broken.Load() {
				return errors.New("connection refused")
			}
			return nil
		}})
	})
	page := func(path string, status int) HealthReport {
		t.Helper()
		resp, body := s.do(t, "GET", path, nil)
		var r HealthReport
		if err := json.Unmarshal([]byte(body), &r); err != nil || resp.StatusCode != status || r.Timestamp.IsZero() {
			t.Errorf("%s: %d %s, %v, want %d", path, resp.StatusCode, body, err, status)
		}
		return r
	}
	broken.Store(true)
	if r := page("/health/ready", 503); r.Status != Unhealthy || r.Checks["db"].Error != "connection refused" {
		t.Errorf("ready: %+v", r)
	}
	for _, path := range []string{"/health", "/health/live"} {
		if r := page(path, 200); r.Status != Healthy || r.Checks != nil {
			t.Errorf("%s asks dependencies: %+v", path, r)
		}
	}
	if r := page("/health/startup", 200); r.Version != "v9" {
		t.Errorf("startup: %+v", r)
	}
	s.draining.Store(true)
	if r := page("/health/ready", 503); r.Reason != "draining" {
		t.Errorf("ready while draining: %+v", r)
	}
	page("/health/live", 200)
}
