package server

import (
	"context"
	"sync"

	"github.com/covetpy/covet/server/cache"
	"github.com/prometheus/client_golang/prometheus"
)

// Cache is the service's cache: in this process, and shared in Redis where REDIS_CACHE_URL or REDIS_URL names one.
func (s *Server) Cache() *cache.Cache { return s.cache }

func (s *Server) openCache() error {
	redis, err := s.redisAt("redis_cache", s.cfg.Data.RedisCacheURL)
	if err != nil {
		return err
	}
	var scripts cache.Scripts
	if redis != nil {
		scripts = redis
	}
	s.cache = cache.New(scripts, "covet:cache:"+s.cfg.Service+":")
	var running sync.WaitGroup
	life, end := context.WithCancel(context.Background())
	s.Component(Component{Name: "cache",
		Start: func(context.Context) error { running.Go(func() { s.cache.Run(life) }); return nil },
		Stop:  func(context.Context) error { end(); running.Wait(); return nil },
	})
	s.metrics.registry.MustRegister(&cacheCollector{s.cache})
	return nil
}

// cacheCollector shows what the cache did.
type cacheCollector struct{ cache *cache.Cache }

var (
	cacheAnswers = prometheus.NewDesc("covetpy_cache_requests_total", "Questions to the cache, by where the answer came from: local, shared or loaded.", []string{"from"}, nil)
	cacheEntries = prometheus.NewDesc("covetpy_cache_entries", "Answers kept in this process.", nil, nil)
)

func (c *cacheCollector) Describe(out chan<- *prometheus.Desc) {
	out <- cacheAnswers
	out <- cacheEntries
}

func (c *cacheCollector) Collect(out chan<- prometheus.Metric) {
	s := c.cache.Stats()
	for from, n := range map[string]int64{"local": s.Local, "shared": s.Shared, "loaded": s.Loaded} {
		out <- prometheus.MustNewConstMetric(cacheAnswers, prometheus.CounterValue, float64(n), from)
	}
	out <- prometheus.MustNewConstMetric(cacheEntries, prometheus.GaugeValue, float64(s.Entries))
}
