package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// reuseWindow is how long a connection may have been idle to be given a request that must not be sent twice. Servers
// close idle connections after seconds (Gunicorn 2, Node and Uvicorn 5): one that is used again sooner will not be closed
// under the request.
const reuseWindow = time.Second

var errInstanceCut = errors.New("the instance has left")

// pool holds the connections to one instance: a stack of idle ones, the last used on top, and the set of all.
type pool struct {
	addr string
	opts *Options

	mu      sync.Mutex
	idle    []*conn
	open    map[*conn]struct{}
	retired bool // nothing is kept any more
	dead    bool // nothing may be opened any more
	reaper  *time.Timer
}

func newPool(addr string, o *Options) *pool {
	return &pool{addr: addr, opts: o, open: make(map[*conn]struct{})}
}

// take returns an idle connection that is still good, or nil. With once set only a recently used one will do.
func (p *pool) take(now time.Time, once bool) *conn {
	for {
		p.mu.Lock()
		n := len(p.idle) - 1
		if n < 0 || once && now.Sub(p.idle[n].idleSince) > reuseWindow {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n]
		p.idle[n] = nil
		p.idle = p.idle[:n]
		p.mu.Unlock()
		if c.quiet() {
			c.reused = true
			return c
		}
		p.drop(c)
	}
}

// dial makes a new connection.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	d := net.Dialer{Timeout: p.opts.DialTimeout}
	nc, err := d.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	c, err := newConn(nc, p.opts.MaxResponseHead)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		c.kill()
		return nil, fmt.Errorf("connect to %s: %w", p.addr, errInstanceCut)
	}
	p.open[c] = struct{}{}
	return c, nil
}

// put keeps a connection for the next request.
func (p *pool) put(c *conn, now time.Time) {
	c.idleSince = now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || len(p.idle) >= p.opts.MaxIdle {
		p.close(c)
		return
	}
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.opts.IdleTimeout/2, p.reap)
	}
}

// drop closes a connection that is in nobody's hands.
func (p *pool) drop(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(c)
}

// close closes c and forgets it. p.mu is held.
func (p *pool) close(c *conn) {
	delete(p.open, c)
	c.kill()
}

// reap closes connections that have been idle for too long or that the instance has closed, and comes again as long as
// any are left.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if now.Sub(c.idleSince) < p.opts.IdleTimeout && c.quiet() {
			kept = append(kept, c)
			continue
		}
		p.close(c)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.reaper = nil
	if len(kept) > 0 && !p.retired {
		p.reaper = time.AfterFunc(p.opts.IdleTimeout/2, p.reap)
	}
}

// retire closes the idle connections, and the others as soon as they are put back.
func (p *pool) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	for _, c := range p.idle {
		p.close(c)
	}
	p.idle = nil
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
}

// cut closes every connection, whoever is using it.
func (p *pool) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired, p.dead = true, true
	for c := range p.open {
		p.close(c)
	}
	p.idle = nil
}
