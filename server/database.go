package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/covetpy/covet/server/pg"
	"github.com/prometheus/client_golang/prometheus"
)

// DB is the service's database, nil without DATABASE_URL. Within a request, its reads see what the same client has
// written, in this request and in those before.
func (s *Server) DB() *pg.DB { return s.db }

// openDatabase makes the pools. They connect when the server starts; a database that is away then is no reason not to.
func (s *Server) openDatabase() error {
	c := s.cfg.Data
	if c.DatabaseURL == "" {
		return nil
	}
	var replicas []string
	for _, url := range c.ReplicaURLs {
		if url != "" {
			replicas = append(replicas, url.Reveal())
		}
	}
	db, err := pg.Open(pg.Config{
		URL: c.DatabaseURL.Reveal(), Replicas: replicas, PoolSize: c.PoolSize, MaxOverflow: c.MaxOverflow,
		Application: s.cfg.Service, MaxLag: c.ReplicaLag, StatementTimeout: c.StatementMax, Log: s.Logger("database"),
	})
	if err != nil {
		return err
	}
	s.db, s.sessions = db, len(db.States()) > 1
	s.Component(Component{Name: "database", Start: db.Start, Stop: db.Close})
	s.metrics.registry.MustRegister(&databaseCollector{db})
	s.checkDatabase()
	return nil
}

// checkDatabase registers the checks. The service is unready when nothing of the database can be read; with replicas
// that can, a primary that is away leaves it degraded, so that pages that only read go on.
func (s *Server) checkDatabase() {
	servers := s.db.States()
	if len(servers) == 1 {
		s.health.Register(Check{Name: "database", Required: true, Run: s.db.CheckPrimary})
		return
	}
	s.health.Register(Check{Name: "database", Required: true, Run: s.db.CheckAny})
	s.health.Register(Check{Name: "database_primary", Run: s.db.CheckPrimary})
	for i, server := range servers {
		s.health.Register(Check{Name: "database " + server.Name, Run: func(ctx context.Context) error { return s.db.CheckServer(ctx, i) }})
	}
}

// consistencyCookie carries how far a client's writes have come to its next request; programs that keep no cookies use
// the header.
const (
	consistencyCookie = "covet_seen"
	consistencyHeader = "X-Consistency-Token"
)

// resumeSession takes up what the client's earlier requests have written.
func (c *requestContext) resumeSession(r *http.Request) {
	c.session = &pg.Session{}
	if token := r.Header[consistencyHeader]; len(token) == 1 {
		c.session.Resume(token[0])
	}
	if r.Header["Cookie"] != nil {
		if cookie, err := r.Cookie(consistencyCookie); err == nil {
			c.session.Resume(cookie.Value)
		}
	}
	c.seen = c.session.At()
}

// carrySession tells the client how far its writes have come, where this request has written.
func (c *requestContext) carrySession(h http.Header, secure bool) {
	if c.session.At() == c.seen {
		return
	}
	token := c.session.Token()
	h[consistencyHeader] = []string{token}
	cookie := http.Cookie{Name: consistencyCookie, Value: token, Path: "/", MaxAge: 60, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
	h.Add("Set-Cookie", cookie.String())
}

// databaseCollector shows the state of each server.
type databaseCollector struct{ db *pg.DB }

var (
	dbServerLabel = []string{"server"}
	dbRole        = prometheus.NewDesc("covetpy_database_server", "1 for the role that a server has: primary, replica, retired or away.", []string{"server", "role"}, nil)
	dbLag         = prometheus.NewDesc("covetpy_database_replica_lag_seconds", "How far a replica is behind the primary.", dbServerLabel, nil)
	dbConnections = prometheus.NewDesc("covetpy_database_connections", "Connections to a server, by state.", []string{"server", "state"}, nil)
	dbLimit       = prometheus.NewDesc("covetpy_database_connections_max", "The most connections there may be to a server.", dbServerLabel, nil)
	dbWaits       = prometheus.NewDesc("covetpy_database_waits_total", "Times that a connection had to be waited for.", dbServerLabel, nil)
	dbWaited      = prometheus.NewDesc("covetpy_database_wait_seconds_total", "Time spent waiting for connections.", dbServerLabel, nil)
)

func (c *databaseCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{dbRole, dbLag, dbConnections, dbLimit, dbWaits, dbWaited} {
		out <- d
	}
}

func (c *databaseCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, s := range c.db.States() {
		gauge(dbRole, 1, s.Name, fmt.Sprint(s.Role))
		if s.Role == pg.Replica {
			gauge(dbLag, s.Lag.Seconds(), s.Name)
		}
		gauge(dbConnections, float64(s.Used), s.Name, "used")
		gauge(dbConnections, float64(s.Idle), s.Name, "idle")
		gauge(dbLimit, float64(s.Max), s.Name)
		count(dbWaits, float64(s.Waits), s.Name)
		count(dbWaited, s.Waited.Seconds(), s.Name)
	}
}
