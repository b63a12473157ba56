package server

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/cache"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/jobs"
	"github.com/covetpy/covet/server/pg"
	"github.com/covetpy/covet/server/redisdb"
	"github.com/covetpy/covet/server/sentry"
	"github.com/covetpy/covet/server/tracing"
	"github.com/covetpy/covet/server/ws"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Server is a service's runtime: the HTTP stack around its routes, and its life from start to exit. Routes, checks and
// components are added between [New] and [Server.Run].
type Server struct {
	cfg     config.Config
	log     *logging
	logger  *slog.Logger
	metrics *metrics
	health  *Health

	sentry    *sentry.Reporter // nil without SENTRY_DSN
	tracer    *tracing.Tracer  // nil without a collector
	cross     *crossOrigin
	redis     *redisdb.DB // nil without REDIS_URL
	db        *pg.DB      // nil without DATABASE_URL
	cache     *cache.Cache
	jobs      *jobs.Queue
	sessions  bool                        // requests carry how far their client's writes have come
	limits    *rateLimits                 // nil without limits
	identity  *identity                   // nil without tokens
	logins    map[string]http.HandlerFunc // the runtime's routes for tokens, by path
	sockets   *ws.Registry
	packed    *packed
	assets    *assets     // nil without STATIC_DIR
	tls       *tls.Config // of the public listener; nil: plain HTTP
	router    *chi.Mux
	fallback  http.Handler
	own       map[string]http.Handler // the runtime's own pages, by path
	responses sync.Pool
	flight    flight
	conns     connSet // of the public listener

	components []Component
	drainHooks []func(ctx context.Context)
	admin      http.Handler
	adminConn  []func(context.Context, net.Conn) context.Context

	executable string // the program, as it was called at the start
	starting   atomic.Bool
	startedCh  chan struct{}
	draining   atomic.Bool // unready: no new work should come
	closing    atomic.Bool // every answer says Connection: close
	addr       atomic.Pointer[net.Addr]
}

// Option changes a Server that [New] makes.
type Option func(*options)

type options struct {
	logOutput io.Writer
	users     auth.UserStore
}

// WithLogOutput sends the log to w instead of standard error. LOG_FILE wins over it.
func WithLogOutput(w io.Writer) Option {
	return func(o *options) { o.logOutput = w }
}

// WithUsers issues tokens to the users of a store, instead of those of AUTH_USERS_FILE. It needs JWT_SECRET_KEY.
func WithUsers(users auth.UserStore) Option {
	return func(o *options) { o.users = users }
}

// New makes a server from its configuration. It opens the log; no port is opened before [Server.Run].
func New(cfg config.Config, opts ...Option) (*Server, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	cfg = cfg.WithDefaults()
	if faults := cfg.Conflicts(); len(faults) > 0 {
		return nil, &config.Error{Faults: faults}
	}
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	log, err := newLogging(cfg, o.logOutput)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, logger: log.logger("server"), executable: executable, packed: newPacked(), startedCh: make(chan struct{})}
	s.metrics = newMetrics(
		func() float64 { return float64(s.conns.count()) },
		func() float64 { return float64(log.sink.lost.Load()) },
		func() float64 { return s.flight.bytes(0) },
		func() float64 { return s.flight.bytes(1) })
	s.health = &Health{version: cfg.Version, phase: s.phase, log: log.logger("health")}
	s.responses.New = func() any {
		w := &response{server: s}
		s.flight.assign(w)
		return w
	}
	s.router = chi.NewRouter()
	s.router.NotFound(notFound)
	s.router.MethodNotAllowed(methodNotAllowed)
	s.own = s.ownPages()
	if err := s.openParts(o.users); err != nil {
		return nil, err
	}
	return s, nil
}

// openParts makes what the configuration asks for: those first that others stop before.
func (s *Server) openParts(users auth.UserStore) (err error) {
	if err := s.openObservers(); err != nil {
		return err
	}
	s.openWebSockets()
	if err := s.openAssets(); err != nil {
		return err
	}
	s.checkExternals()
	if s.cross, err = newCrossOrigin(s.cfg.Security, s.metrics.registry); err != nil {
		return err
	}
	if err := s.openRedis(); err != nil {
		return err
	}
	if err := s.openDatabase(); err != nil {
		return err
	}
	if err := s.openCache(); err != nil {
		return err
	}
	if err := s.openJobs(); err != nil {
		return err
	}
	s.limits = s.newRateLimits()
	if s.identity, err = s.openIdentity(users); err != nil {
		return err
	}
	s.logins = s.identity.pages()
	return s.secure()
}

// ownPages are answered by the runtime on the public listener, before any route of the application.
func (s *Server) ownPages() map[string]http.Handler {
	pages := map[string]http.Handler{
		"/health":         readOnly(s.health.live),
		"/health/live":    readOnly(s.health.live),
		"/health/ready":   readOnly(s.health.ready),
		"/health/startup": readOnly(s.health.startup),
	}
	if s.cfg.PrometheusEnabled && s.cfg.PrometheusPort == "" {
		pages["/metrics"] = readOnly(s.metrics.handler().ServeHTTP)
	}
	return pages
}

func readOnly(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			methodNotAllowed(w, r)
			return
		}
		h(w, r)
	})
}

// Router takes the application's routes and middleware.
func (s *Server) Router() chi.Router { return s.router }

// Fallback sets what answers requests that no route takes, as it comes: a proxy's answers are neither compressed nor
// given an ETag, unless GZIP_PROXIED says so. Its endpoint in metrics is "/*".
func (s *Server) Fallback(h http.Handler) {
	if !s.cfg.GzipProxied {
		as := h
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { as.ServeHTTP(unencoded(w), r) })
	}
	s.fallback = h
	s.router.NotFound(h.ServeHTTP)
	s.router.MethodNotAllowed(h.ServeHTTP)
}

// Health takes the checks that decide whether the service is ready.
func (s *Server) Health() *Health { return s.health }

// Registry is what /metrics shows; applications add their own collectors.
func (s *Server) Registry() *prometheus.Registry { return s.metrics.registry }

// Logger returns a logger for a part of the service, named in each of its lines.
func (s *Server) Logger(name string) *slog.Logger { return s.log.logger(name) }

// Component adds a part with a life of its own. Components start in the order they were added and stop in reverse.
func (s *Server) Component(c Component) { s.components = append(s.components, c) }

// OnDrain adds a function that is called when the server stops taking connections, before it waits for the open ones:
// the place to close WebSockets with 1001 (going away), which end by no request's end. It runs beside others and ends
// with ctx: when nothing is open any more, or at ctx's deadline, when what still is gets cut.
func (s *Server) OnDrain(f func(ctx context.Context)) { s.drainHooks = append(s.drainHooks, f) }

// AdminHandler serves h on the operations socket, Config.AdminSocket. [PeerFrom] tells who asks. Each connContext may
// add to the context of a connection's requests.
func (s *Server) AdminHandler(h http.Handler, connContext ...func(ctx context.Context, c net.Conn) context.Context) {
	s.admin, s.adminConn = h, connContext
}

// Draining says whether the server has begun to stop.
func (s *Server) Draining() bool { return s.draining.Load() }

// Addr is the address of the public listener, nil before it listens.
func (s *Server) Addr() net.Addr {
	if a := s.addr.Load(); a != nil {
		return *a
	}
	return nil
}

// Reasons for being unready that are not a dependency's.
const (
	phaseStarting = "starting"
	phaseDraining = "draining"
)

func (s *Server) phase() string {
	switch {
	case s.draining.Load():
		return phaseDraining
	case s.starting.Load():
		return phaseStarting
	}
	return ""
}
