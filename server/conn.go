package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// conn is an accepted connection that its set knows until it is closed, by whomever: net/http forgets a connection that
// a handler hijacks, and a stop must not.
type conn struct {
	net.Conn
	set   *connSet
	state atomic.Int32 // an http.ConnState
}

// Close closes the connection and takes it out of the set.
func (c *conn) Close() error {
	c.set.remove(c)
	return c.Conn.Close()
}

// ReadFrom keeps the kernel's short cuts (sendfile, splice) open, which net/http and io.Copy look for.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// WriteTo does the same in the other direction.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	if wt, ok := c.Conn.(io.WriterTo); ok {
		return wt.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{c.Conn})
}

// CloseWrite sends the end of the stream and leaves the other direction open: net/http closes so, and a proxy of
// WebSockets needs it.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// connSet holds the open connections of a listener.
type connSet struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
}

func (s *connSet) add(c net.Conn) *conn {
	tracked := &conn{Conn: c, set: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[tracked] = struct{}{}
	return tracked
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

func (s *connSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// in returns the connections that are in one of the states.
func (s *connSet) in(states ...http.ConnState) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*conn
	for c := range s.conns {
		for _, st := range states {
			if http.ConnState(c.state.Load()) == st {
				out = append(out, c)
				break
			}
		}
	}
	return out
}

// track is the http.Server's ConnState hook.
func track(c net.Conn, st http.ConnState) {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	if tracked, ok := c.(*conn); ok {
		tracked.state.Store(int32(st))
	}
}

// reaper closes connections that have carried nothing for the grace. Closing an idle connection at once, as
// http.Server.Shutdown does, resets the client whose next request is under way; one that asks within the grace is
// answered, and told to close.
type reaper struct {
	set   *connSet
	grace time.Duration
	idle  map[*conn]time.Time // since when seen so
}

// sweep closes what has been idle for the grace, and returns how many connections are still open.
func (r *reaper) sweep(now time.Time) int {
	seen := make(map[*conn]time.Time, len(r.idle))
	for _, c := range r.set.in(http.StateIdle, http.StateNew) {
		since, known := r.idle[c]
		if !known {
			since = now
		}
		if now.Sub(since) < r.grace {
			seen[c] = since
			continue
		}
		// A failing close leaves nothing to do: the connection is out of the set either way.
		_ = c.Close()
	}
	r.idle = seen
	return r.set.count()
}
