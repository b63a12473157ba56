package server

import (
	"context"
	"math/rand/v2"
	"net/http"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/pg"
	"github.com/covetpy/covet/server/redisdb"
	"github.com/go-chi/chi/v5"
)

// headerRequestID is the canonical spelling, as net/http keys its headers.
const headerRequestID = "X-Request-Id"

// requestContext is what the runtime adds to a request's context. One value holds the routing context, the request id
// and the client's address, because each separate one would be an allocation and a step of every later look-up.
type requestContext struct {
	context.Context
	route    *chi.Context
	id       [1]string
	rate     [1]string // value of the RateLimit header, or ""
	traceID  string    // 32 hexadecimal digits, or ""
	clientIP string

	session *pg.Session // how far the client's writes have come; nil where there is nothing but the primary to read
	seen    pg.LSN      // and how far they had when the request came

	lost redisdb.Lost // whether it has waited for a Redis in vain

	principal *auth.Principal // who asks; nil: nobody known
	denied    error           // why not, where a token came
}

type requestContextKey struct{}

// Value answers for the runtime's and chi's keys, and asks the connection's context for all others.
func (c *requestContext) Value(key any) any {
	switch key {
	case chi.RouteCtxKey:
		return c.route
	case requestContextKey{}:
		return c
	case auth.Key{}:
		return c.principal
	case pg.SessionKey{}:
		return c.session
	case redisdb.LostKey{}:
		return &c.lost
	}
	return c.Context.Value(key)
}

// RequestID returns the id of the request that ctx belongs to, or "".
func RequestID(ctx context.Context) string {
	if c, ok := ctx.Value(requestContextKey{}).(*requestContext); ok {
		return c.id[0]
	}
	return ""
}

// TraceID returns the id of the trace that the request of ctx belongs to, or "".
func TraceID(ctx context.Context) string {
	if c, ok := ctx.Value(requestContextKey{}).(*requestContext); ok {
		return c.traceID
	}
	return ""
}

// ClientIP returns the address of the client that sent the request that ctx belongs to: the peer's, or, where that is a
// trusted proxy, what it says in X-Forwarded-For. It is "" outside a request.
func ClientIP(ctx context.Context) string {
	if c, ok := ctx.Value(requestContextKey{}).(*requestContext); ok {
		return c.clientIP
	}
	return ""
}

// requestID takes the id that a client or proxy sent, if it is one that can be put into logs and headers as it is, and
// otherwise makes one.
func requestID(h http.Header) string {
	if v := h[headerRequestID]; len(v) == 1 && saneRequestID(v[0]) {
		return v[0]
	}
	return newRequestID()
}

func saneRequestID(id string) bool {
	if len(id) < 8 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// newRequestID returns 128 random bits in hexadecimal. They need to be unique, not secret.
func newRequestID() string {
	const hex = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		n := rand.Uint64()
		for i := range 16 {
			id[half*16+i] = hex[n&15]
			n >>= 4
		}
	}
	return string(id[:])
}
