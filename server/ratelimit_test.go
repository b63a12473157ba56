package server

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/redisdb/redistest"
)

func serveLimited(t *testing.T, security config.SecurityConfig, proxies ...netip.Prefix) *served {
	security.RateLimitEnabled = true
	return serveStack(t, config.Config{PrometheusEnabled: true, TrustedProxies: proxies, Security: security}, func(s *Server) {
		s.Router().Get("/*", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	})
}

func TestRateLimitAnswers(t *testing.T) {
	t.Parallel()
	s := serveLimited(t, config.SecurityConfig{RateLimitPerMinute: 6})
	resp, _ := s.do(t, "GET", "/a", nil)
	if got := resp.Header.Get("RateLimit"); got != `"minute";r=5;t=10, "hour";r=999;t=4` {
		t.Errorf("RateLimit: %s", got)
	}
	if got := resp.Header.Get("RateLimit-Policy"); got != `"minute";q=6;w=60, "hour";q=1000;w=3600` {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	for range 5 {
		if resp, _ := s.do(t, "GET", "/a", nil); resp.StatusCode != http.StatusOK {
			t.Errorf("within the rate: %d", resp.StatusCode)
		}
	}
	resp, body := s.do(t, "GET", "/b", nil)
	if resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(body, `"status":429`) || (resp.Header.Get("Retry-After") != "10" && resp.Header.Get("Retry-After") != "9") {
		t.Errorf("beyond it: %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/metrics"} {
		if resp, _ := s.do(t, "GET", path, nil); resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit") != "" {
			t.Errorf("%s: %d, RateLimit %q", path, resp.StatusCode, resp.Header.Get("RateLimit"))
		}
	}
	_, text := s.do(t, "GET", "/metrics", nil)
	for _, want := range []string{`covetpy_rate_limit_requests_total{decision="allowed",source="local"} 6`,
		`covetpy_rate_limit_requests_total{decision="limited",source="local"} 1`, `covetpy_rate_limit_clients 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// A client may write what it likes into X-Forwarded-For: only what a trusted proxy has added counts.
func TestRateLimitIsNotFooledByForwardedFor(t *testing.T) {
	t.Parallel()
	for name, proxies := range map[string][]netip.Prefix{"no proxy": nil, "behind one": {netip.MustParsePrefix("127.0.0.0/8")}} {
		s := serveLimited(t, config.SecurityConfig{RateLimitPerMinute: 6}, proxies...)
		ok := 0
		for i := range 30 {
			forwarded := fmt.Sprintf("198.51.100.%d", i)
			if proxies != nil {
				forwarded += ", 203.0.113.7" // as the proxy adds it
			}
			if resp, _ := s.do(t, "GET", "/", nil, "X-Forwarded-For", forwarded, "X-Real-Ip", forwarded, "Forwarded", "for="+forwarded); resp.StatusCode == http.StatusOK {
				ok++
			}
		}
		if ok < 6 || ok > 7 { // one more comes back each ten seconds
			t.Errorf("%s: %d requests got through, want 6", name, ok)
		}
	}
}

// Redis is killed, hangs and restarts while clients ask: none of them waits, none gets more than its rate, and Redis is
// used again.
func TestRateLimitWithRedisUnderLoad(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := serveLimited(t, config.SecurityConfig{RateLimitPerMinute: 6, RedisURL: config.Secret(redis.URL())})
	var ok, limited, failed, slow atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				begun := time.Now()
				resp, err := c.Get(s.url + "/")
				if err != nil {
					failed.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusOK:
					ok.Add(1)
				case http.StatusTooManyRequests:
					limited.Add(1)
				default:
					failed.Add(1)
				}
				if time.Since(begun) > time.Second { // the deadline of 50 ms, and a busy machine's own
					slow.Add(1)
				}
			}
		})
	}
	metric := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, text := s.do(t, "GET", "/metrics", nil); strings.Contains(text, what) {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("the metrics never say %s", what)
				return
			}
		}
	}
	metric(`covetpy_rate_limit_requests_total{decision="limited",source="redis"} 2`)
	for range 2 {
		redis.Kill()
		metric("covetpy_redis_up 0")
		redis.Run()
		metric("covetpy_redis_up 1")
		redis.Stop()
		metric("covetpy_redis_up 0")
		redis.Continue()
		metric("covetpy_redis_up 1")
	}
	close(stop)
	clients.Wait()
	t.Logf("%d let through, %d limited, %d slow", ok.Load(), limited.Load(), slow.Load())
	if n := ok.Load(); n < 6 || n > 10 { // the burst, and one each ten seconds
		t.Errorf("%d let through", n)
	}
	if failed.Load() > 0 || slow.Load() > 0 || limited.Load() < 100 {
		t.Errorf("%d failed, %d slow, %d limited", failed.Load(), slow.Load(), limited.Load())
	}
}

func TestRedisURLSetting(t *testing.T) {
	t.Parallel()
	_, _, err := config.Load(config.Sources{Environ: []string{"REDIS_URL=http://user:geheim@host"}})
	if err == nil || !strings.Contains(err.Error(), "REDIS_URL") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
}
