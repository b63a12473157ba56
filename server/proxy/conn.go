package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// connBuffer is what a connection keeps for reading: a head and a small body arrive in one piece.
	connBuffer = 16 << 10
	// bulkBuffer is what a larger body borrows while it passes, in either direction.
	bulkBuffer = 64 << 10
	// headBuffer is what a request's head is written in; it grows with what it has to hold.
	headBuffer = 4 << 10
)

// buffers are kept for use by one request after another.
type buffers struct {
	size int
	pool sync.Pool
}

func (p *buffers) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, p.size)
	return &b
}

func (p *buffers) put(b *[]byte) { p.pool.Put(b) }

// conn is one connection to an instance. It is used by one request at a time; only kill may be called by others.
type conn struct {
	net.Conn
	raw     syscall.RawConn
	maxHead int

	buf       []byte // what was read and not yet used is buf[r:w]
	r, w      int
	own       []byte // the buffer to go back to after a bulk one
	fields    []field
	readBy    time.Time // the read deadline in force; zero for none
	idleSince time.Time
	reused    bool // it has carried a request before

	// Made once, so that passing them on allocates nothing.
	kill func()           // closes the connection, for context.AfterFunc
	try  func(fd uintptr) // reads into room without waiting

	room   []byte
	one    [1]byte
	tried  int
	tryErr error
}

func newConn(nc net.Conn, maxHead int) (*conn, error) {
	c := &conn{Conn: nc, maxHead: maxHead, own: make([]byte, connBuffer)}
	c.buf = c.own
	c.kill = func() {
		// The connection is given up: whether it could still be closed in order is of no use to anybody.
		_ = nc.Close()
	}
	c.try = func(fd uintptr) { c.tried, c.tryErr = syscall.Read(int(fd), c.room) }
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no file descriptor", nc)
	}
	var err error
	c.raw, err = sc.SyscallConn()
	return c, err
}

// quiet says whether an idle connection is as it should be: open, with nothing to read. An answer that nobody asked for
// (a 408 before closing, or worse a second answer to the last request) must not be taken for that of the next.
func (c *conn) quiet() bool {
	c.room = c.one[:]
	return c.raw.Control(c.try) == nil && c.tried <= 0 && errors.Is(c.tryErr, syscall.EAGAIN)
}

// died says whether the instance has ended the connection, after a copy failed that does not tell at which end. A
// connection that was closed on this side has not died.
func (c *conn) died() bool {
	c.room = c.one[:]
	return c.raw.Control(c.try) == nil && c.tried <= 0 && !errors.Is(c.tryErr, syscall.EAGAIN)
}

// expectWithin sees to it that reading fails when nothing has come for the time d, or up to a quarter more: moving the
// deadline only then spares a busy connection nearly all of the calls.
func (c *conn) expectWithin(now time.Time, d time.Duration) error {
	if c.readBy.Sub(now) >= d {
		return nil
	}
	c.readBy = now.Add(d + d/4)
	return c.SetReadDeadline(c.readBy)
}

// expectWhenever lets reading take as long as it takes.
func (c *conn) expectWhenever() error {
	if c.readBy.IsZero() {
		return nil
	}
	c.readBy = time.Time{}
	return c.SetReadDeadline(c.readBy)
}

// buffered is what was read and not yet used.
func (c *conn) buffered() []byte { return c.buf[c.r:c.w] }

// advance marks n buffered bytes as used.
func (c *conn) advance(n int) {
	if c.r += n; c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// fill waits for more and reads it, making room first as makeRoom does. It returns io.EOF only if nothing was read.
func (c *conn) fill(limit int) error {
	if err := c.makeRoom(limit); err != nil {
		return err
	}
	n, err := c.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// fillOrIdle is fill for a body in passing: it calls idle before it waits, and not if more has arrived already.
func (c *conn) fillOrIdle(idle func() error) error {
	if err := c.makeRoom(len(c.buf)); err != nil {
		return err
	}
	c.room = c.buf[c.w:]
	err := c.raw.Control(c.try)
	switch {
	case err == nil && c.tried > 0:
		c.w += c.tried
		return nil
	case err == nil && c.tryErr == nil:
		return io.EOF
	case err == nil && !errors.Is(c.tryErr, syscall.EAGAIN) && !errors.Is(c.tryErr, syscall.EINTR):
		return os.NewSyscallError("read", c.tryErr)
	}
	if err := idle(); err != nil {
		return err
	}
	return c.fill(len(c.buf))
}

// makeRoom makes room to read into: it moves what is buffered to the front, and where the buffer is full it grows it up to
// limit. It returns errFull where that is reached.
func (c *conn) makeRoom(limit int) error {
	switch {
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	case len(c.buf) >= limit:
		return errFull
	default:
		grown := make([]byte, min(2*len(c.buf), limit))
		copy(grown, c.buf)
		c.buf, c.own = grown, grown
	}
	return nil
}

var errFull = errors.New("buffer is full")

// borrow puts a bulk buffer in place of the connection's own; giveBack undoes it. Both keep what is buffered.
func (c *conn) borrow(b []byte) {
	if len(b) <= len(c.buf) {
		return
	}
	c.w = copy(b, c.buffered())
	c.r = 0
	c.buf = b
}

func (c *conn) giveBack() {
	if rest := c.buffered(); len(rest) > len(c.own) {
		c.own = append([]byte(nil), rest...) // more than an answer: the connection is closed next
		c.r, c.w = 0, len(rest)
	} else {
		c.w = copy(c.own, rest)
		c.r = 0
	}
	c.buf = c.own
}
