package server

import (
	"context"
	"net/http"
	"time"

	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/limit"
	"github.com/covetpy/covet/server/redisdb"
	"github.com/prometheus/client_golang/prometheus"
)

// rateBurst is how many requests may come at once within the rate by the minute.
const rateBurst = 20

// rateLimits holds the clients of the application to their rates.
type rateLimits struct {
	limiter *limit.Limiter
	policy  []string
	counts  [2][2]prometheus.Counter // by allowed, by local
}

// openRedis makes the connection to REDIS_URL that limits and revocations are kept in. It is optional for readiness: the
// service goes on without.
func (s *Server) openRedis() (err error) {
	s.redis, err = s.redisAt("redis", s.cfg.Security.RedisURL)
	return err
}

// redisAt is the Redis of a URL, the one of REDIS_URL where it is empty, and nil without either. name is that of its
// check and in metrics.
func (s *Server) redisAt(name string, url config.Secret) (*redisdb.DB, error) {
	if url == "" || s.redis != nil && url == s.cfg.Security.RedisURL {
		return s.redis, nil
	}
	db, err := redisdb.Open(url.Reveal(), s.Logger(name))
	if err != nil {
		return nil, err
	}
	s.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "covetpy_" + name + "_up", Help: "Whether this Redis is asked: 0 while it does not answer.",
	}, func() float64 {
		if db.Up() {
			return 1
		}
		return 0
	}))
	s.health.Register(Check{Name: name, Run: db.Ping})
	s.Component(Component{Name: name, Stop: func(context.Context) error { return db.Close() }})
	return db, nil
}

// newRateLimits makes the limits of the configuration, nil where it wants none.
func (s *Server) newRateLimits() *rateLimits {
	c := s.cfg.Security
	if !c.RateLimitEnabled {
		return nil
	}
	rules := limit.Rules{
		{Name: "minute", Limit: c.RateLimitPerMinute, Window: time.Minute, Burst: min(rateBurst, c.RateLimitPerMinute)},
		{Name: "hour", Limit: c.RateLimitPerHour, Window: time.Hour, Burst: c.RateLimitPerHour},
	}
	var shared limit.Scripts
	if s.redis != nil {
		shared = s.redis
	}
	l := &rateLimits{limiter: limit.New(rules, shared, "covet:limit:"+s.cfg.Service+":")}
	l.policy = []string{l.limiter.Rules().Policy()}
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "covetpy_rate_limit_requests_total", Help: "Requests held to the rate limits, by decision, and by who decided: redis or this process (local).",
	}, []string{"decision", "source"})
	for i, decision := range []string{"limited", "allowed"} {
		for j, source := range []string{"redis", "local"} {
			l.counts[i][j] = counts.WithLabelValues(decision, source)
		}
	}
	s.metrics.registry.MustRegister(counts, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "covetpy_rate_limit_clients", Help: "Addresses and users that this process remembers.",
	}, func() float64 { return float64(l.limiter.Clients()) }))
	return l
}

// admit counts the request, and answers 429 and returns false where its client has to wait.
func (l *rateLimits) admit(w *response, user string) bool {
	if l == nil {
		return true
	}
	v := l.limiter.Take(w.ctx, w.ctx.clientIP, user)
	l.counts[index(v.Allowed)][index(v.Local)].Inc()
	w.ctx.rate[0] = l.limiter.Rules().Header(v)
	if v.Allowed {
		return true
	}
	w.Header()["Retry-After"] = []string{v.RetrySeconds()}
	writeProblem(w, w.request, http.StatusTooManyRequests, "too many requests; wait as long as Retry-After says")
	return false
}

// answer adds the headers that say how much is left.
func (l *rateLimits) answer(h http.Header, ctx *requestContext) {
	if l != nil && ctx.rate[0] != "" {
		h["Ratelimit"] = ctx.rate[:]
		h["Ratelimit-Policy"] = l.policy
	}
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}
