package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/limit"
	"github.com/prometheus/client_golang/prometheus"
)

// identity knows who asks.
type identity struct {
	tokens   *auth.Tokens
	users    auth.UserStore // nil: tokens are verified and not issued
	logins   *limit.Limiter
	failures *prometheus.CounterVec
}

// loginRules are how often one address may try a password, whatever the rate limits.
var loginRules = limit.Rules{
	{Name: "minute", Limit: 10, Window: time.Minute, Burst: 10},
	{Name: "hour", Limit: 100, Window: time.Hour, Burst: 100},
}

// soundJWTKey is the shortest key, in bytes, that is no weaker than the signature of HS256 (RFC 7518, 3.2).
const soundJWTKey = 32

// openIdentity makes it from the configuration, nil without JWT_SECRET_KEY.
func (s *Server) openIdentity(users auth.UserStore) (*identity, error) {
	c, prefix := s.cfg.Security, "covet:auth:"+s.cfg.Service+":"
	if c.JWTSecretKey == "" {
		if users != nil {
			return nil, &config.Error{Faults: []config.Fault{{Name: "JWT_SECRET_KEY", Problem: "is missing: the application issues tokens", Example: "JWT_SECRET_KEY=$(openssl rand -hex 32)"}}}
		}
		return nil, nil
	}
	log := s.Logger("auth")
	if len(c.JWTSecretKey) < soundJWTKey {
		log.Warn("JWT_SECRET_KEY can be guessed, and tokens forged: take at least 32 characters", "characters", len(c.JWTSecretKey))
	}
	families, err := s.openFamilies(prefix)
	if err != nil {
		return nil, err
	}
	var shared limit.Scripts
	if s.redis != nil {
		shared = s.redis
	}
	tokens, err := auth.NewTokens(auth.Config{
		Key: []byte(c.JWTSecretKey.Reveal()), Algorithm: c.JWTAlgorithm, Issuer: s.cfg.Service, Audience: s.cfg.Service,
		AccessTTL: c.AccessTTL(), RefreshTTL: c.RefreshTTL(),
	}, families)
	if err != nil {
		return nil, err
	}
	i := &identity{tokens: tokens, users: users, logins: limit.New(loginRules, shared, prefix+"login:"),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "covetpy_failed_authentications_total", Help: "Requests and logins turned away, by reason.",
		}, []string{"reason"})}
	s.metrics.registry.MustRegister(i.failures)
	if users == nil {
		i.users, err = s.openUsers()
	}
	return i, err
}

// openFamilies says where the families of tokens are kept: in Redis, or in the database, or else in this process.
func (s *Server) openFamilies(prefix string) (auth.Families, error) {
	access := s.cfg.Security.AccessTTL()
	redis, err := s.redisAt("redis_session", s.cfg.Data.RedisSessionURL)
	switch {
	case err != nil:
		return nil, err
	case redis != nil:
		return auth.NewShared(redis, prefix+"family:", access), nil
	case s.db != nil:
		return auth.NewDatabase(s.db, access), nil
	}
	s.Logger("auth").Warn("sessions and revocations are kept in this process alone, and end with it: set REDIS_URL or DATABASE_URL")
	return auth.NewMemory(), nil
}

// openUsers says who may sign in: the users of AUTH_USERS_FILE, or else those of the database, or nobody.
func (s *Server) openUsers() (auth.UserStore, error) {
	if path := s.cfg.Security.AuthUsersFile; path != "" {
		file, err := auth.OpenUsersFile(path)
		if err != nil {
			return nil, err
		}
		s.Component(Component{Name: "users", Reload: func(context.Context) error { return file.Reload() }})
		return file, nil
	}
	if s.db != nil {
		return auth.NewUsers(s.db), nil
	}
	return nil, nil
}

// authenticate puts who asks into the request's context. A token that is not right makes nobody: routes that anybody may
// ask go on, those that want somebody say what was wrong with it.
func (i *identity) authenticate(w *response) {
	if i == nil {
		return
	}
	token, ok := bearer(w.request.Header)
	if !ok {
		return
	}
	w.ctx.principal, w.ctx.denied = i.tokens.Verify(w.ctx, token)
	if w.ctx.denied != nil {
		i.failed(w.ctx.denied)
	}
}

// bearer returns the token of the Authorization header (RFC 6750, 2.1).
func bearer(h http.Header) (string, bool) {
	values := h["Authorization"]
	const scheme = "bearer "
	if len(values) != 1 || len(values[0]) <= len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	return values[0][len(scheme):], true
}

// reasons are the values of the metric's label.
var reasons = []struct {
	err  error
	name string
}{
	{auth.ErrReused, "reused"}, {auth.ErrRevoked, "revoked"}, {auth.ErrExpired, "expired"}, {auth.ErrCredentials, "credentials"},
	{auth.ErrToken, "token"}, {auth.ErrUnavailable, "unavailable"},
}

func (i *identity) failed(err error) {
	reason := "error"
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			reason = r.name
			break
		}
	}
	i.failures.WithLabelValues(reason).Inc()
}

// RequireRole lets only those requests through that carry a valid access token of a user who has one of the roles, or,
// where no role is named, of any user. Others get 401, or 403 where the user is known. [auth.PrincipalFrom] says who it is.
func RequireRole(roles ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch p := auth.PrincipalFrom(r.Context()); {
			case p == nil:
				writeUnauthorized(w, r)
			case !p.HasRole(roles...):
				writeProblem(w, r, http.StatusForbidden, "needs the role "+strings.Join(roles, " or "))
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// writeUnauthorized says that a token is needed, or what is wrong with the one that came (RFC 6750, 3).
func writeUnauthorized(w http.ResponseWriter, r *http.Request) {
	var denied error
	if c, ok := r.Context().Value(requestContextKey{}).(*requestContext); ok {
		denied = c.denied
	}
	challenge, text := "Bearer", "needs a token: Authorization: Bearer …"
	if denied != nil {
		challenge, text = `Bearer error="invalid_token"`, publicReason(denied)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	writeProblem(w, r, http.StatusUnauthorized, text)
}

// publicReason is what a client is told: which of our reasons, and nothing of what lies below.
func publicReason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.err.Error()
		}
	}
	return "the token cannot be used"
}
