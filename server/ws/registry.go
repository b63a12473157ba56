// Package ws keeps a service's WebSockets: who may open one and how many, whether the other side is still there, and that
// all of them are told when the service goes away.
package ws

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Options say what is allowed. Every number is a default where it is zero.
type Options struct {
	PingInterval time.Duration // how often the other side is asked whether it is there; 30 s
	PingTimeout  time.Duration // and how long it may take to say so; 10 s
	WriteTimeout time.Duration // how long a message may take to leave; 10 s
	PerUser      int           // open at once; 20
	PerAddress   int           // likewise, of one address; 100
	MaxMessage   int64         // bytes of a message that comes in; 64 KiB

	Origins []string // of pages that may open one, besides those of the service itself: https://shop.example
	// Client tells who asks: a user, or "", and a network address.
	Client func(r *http.Request) (user, address string)
	Refuse func(w http.ResponseWriter, r *http.Request, status int, why string)
	Going  func() bool // whether the service has begun to stop; nil is never
	Log    *slog.Logger
}

// Registry holds the open WebSockets. Its methods are safe for concurrent use.
type Registry struct {
	opts  Options
	stats stats

	mu        sync.Mutex
	open      map[*Conn]struct{}
	users     map[string]int
	addresses map[string]int
	going     bool
}

// New makes a registry.
func New(o Options) *Registry {
	orTime(&o.PingInterval, 30*time.Second)
	orTime(&o.PingTimeout, 10*time.Second)
	orTime(&o.WriteTimeout, 10*time.Second)
	orNumber(&o.PerUser, 20)
	orNumber(&o.PerAddress, 100)
	orNumber(&o.MaxMessage, 64<<10)
	if o.Going == nil {
		o.Going = func() bool { return false }
	}
	return &Registry{opts: o, stats: newStats(), open: map[*Conn]struct{}{}, users: map[string]int{}, addresses: map[string]int{}}
}

func orTime(v *time.Duration, value time.Duration) {
	if *v <= 0 {
		*v = value
	}
}

func orNumber[N int | int64](v *N, value N) {
	if *v <= 0 {
		*v = value
	}
}

// Handle is a route that opens a WebSocket and gives it to h, which reads it, or nothing that the other side sends is
// noticed, its answers to pings included. The context ends when the connection does. What h returns decides how the
// connection is closed: in order where it is nil, or because the other side has gone, else as an internal error.
func (g *Registry) Handle(h func(ctx context.Context, c *Conn) error) http.Handler {
	return g.route(func(ctx context.Context, c *Conn) error { return h(ctx, c) })
}

// Feed is a route that opens a WebSocket on which only the service speaks. The other side's messages end it.
func (g *Registry) Feed(h func(ctx context.Context, c *Conn) error) http.Handler {
	return g.route(func(ctx context.Context, c *Conn) error { return h(c.raw.CloseRead(ctx), c) })
}

func (g *Registry) route(h func(ctx context.Context, c *Conn) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.permitted(r) {
			g.refuse(w, r, http.StatusForbidden, "origin", "pages of this origin may not open WebSockets here")
			return
		}
		user, address := g.opts.Client(r)
		c := &Conn{g: g, User: user, Address: address}
		if why := g.admit(c); why != "" {
			status := http.StatusTooManyRequests
			if why == "draining" {
				status = http.StatusServiceUnavailable
			}
			g.refuse(w, r, status, why, "no WebSocket can be opened: "+why)
			return
		}
		defer g.remove(c)
		raw, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the origin has been looked at
		if err != nil {
			g.stats.refused.WithLabelValues("handshake").Inc()
			return // it has answered
		}
		raw.SetReadLimit(g.opts.MaxMessage)
		g.run(context.WithoutCancel(r.Context()), c, raw, h)
	})
}

func (g *Registry) refuse(w http.ResponseWriter, r *http.Request, status int, reason, text string) {
	g.stats.refused.WithLabelValues(reason).Inc()
	if status != http.StatusForbidden {
		w.Header().Set("Retry-After", "5")
	}
	g.opts.Refuse(w, r, status, text)
}

// permitted says whether the page that asks may: one of the service itself, or of an origin that is named. Programs that
// are no browsers send no origin, and have no cookies of anybody's.
func (g *Registry) permitted(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	for _, o := range g.opts.Origins {
		if o == origins[0] {
			return true
		}
	}
	return strings.EqualFold(u.Host, r.Host)
}

// Reasons for admitting no more.
const (
	tooManyOfUser    = "this user has too many open"
	tooManyOfAddress = "this address has too many open"
	draining         = "draining"
)

// admit counts a connection that is about to be opened, or says why it is not to be.
func (g *Registry) admit(c *Conn) (why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.going:
		return draining
	case c.User != "" && g.users[c.User] >= g.opts.PerUser:
		return tooManyOfUser
	case g.addresses[c.Address] >= g.opts.PerAddress:
		return tooManyOfAddress
	}
	g.open[c] = struct{}{}
	g.addresses[c.Address]++
	if c.User != "" {
		g.users[c.User]++
	}
	return ""
}

func (g *Registry) remove(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
	less(g.addresses, c.Address)
	if c.User != "" {
		less(g.users, c.User)
	}
}

func less(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// run serves an open connection until its handler returns.
func (g *Registry) run(ctx context.Context, c *Conn, raw *websocket.Conn, h func(ctx context.Context, c *Conn) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.mu.Lock()
	c.raw = raw
	going := g.going
	g.mu.Unlock()
	g.stats.opened.Inc()
	if going {
		c.goAway()
	}
	var pings sync.WaitGroup
	pings.Go(func() { c.keepAsking(ctx, cancel) })
	err := h(ctx, c)
	// Before the context ends: its end breaks the connection, and with it the close frame.
	g.finish(c, err)
	cancel()
	pings.Wait()
}

// finish closes the connection in the way that fits how its handler ended.
func (g *Registry) finish(c *Conn, err error) {
	reason := "service"
	switch {
	case c.silent.Load():
		reason = "silent"
	case c.gone.Load() || (err == nil && g.opts.Going()):
		reason = "going_away"
		c.goAway() // and where that is under way already, it waits for it
	case err == nil:
		_ = c.raw.Close(websocket.StatusNormalClosure, "") // the other side may have gone before it can be told
	case websocket.CloseStatus(err) != -1 || errors.Is(err, context.Canceled) || disconnected(err):
		reason = "client"
	default:
		reason = "error"
		g.opts.Log.Warn("a WebSocket's handler failed", "error", err, "client_ip", c.Address)
		_ = c.raw.Close(websocket.StatusInternalError, "internal error")
	}
	_ = c.raw.CloseNow() // it is closed already, or there is nobody left
	g.stats.closed.WithLabelValues(reason).Inc()
}

// GoAway tells all that are open that the service goes away (1001), and admits no more. It returns when they have
// answered, or five seconds later at the latest.
func (g *Registry) GoAway(context.Context) {
	g.mu.Lock()
	g.going = true
	var leaving []*Conn
	for c := range g.open {
		if c.raw != nil {
			leaving = append(leaving, c)
		}
	}
	g.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range leaving {
		all.Go(c.goAway)
	}
	all.Wait()
}

// Count is how many are open.
func (g *Registry) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}
