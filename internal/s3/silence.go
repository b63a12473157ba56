package s3

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// DefaultTimeout is how long a server may be silent.
const DefaultTimeout = time.Minute

// dialTimeout bounds how long a connection may take to be made: three lost packets.
const dialTimeout = 10 * time.Second

// dialer makes connections that fail when nothing has come or gone for so long. A network that swallows everything would
// otherwise hold a request until TCP gives up: a quarter of an hour where something was sent, and no end where something is awaited.
// That one has failed so is noted in silent: the transport's errors don't always tell.
func dialer(silence time.Duration, silent *atomic.Bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: min(dialTimeout, silence), KeepAlive: 15 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &watched{Conn: conn, silence: silence, silent: silent, since: time.Now()}
		return c, c.alive()
	}
}

// watched is a connection that bounds its silence.
type watched struct {
	net.Conn
	silence time.Duration
	silent  *atomic.Bool
	since   time.Time
	until   atomic.Int64 // when it fails, after since
}

// alive puts the end off. A deadline costs little, but not so little that every read could set one.
func (c *watched) alive() error {
	now := time.Since(c.since)
	if until := time.Duration(c.until.Load()); until-now > c.silence-c.silence/16 {
		return nil
	}
	c.until.Store(int64(now + c.silence))
	return c.SetDeadline(c.since.Add(now + c.silence))
}

func (c *watched) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && err == nil {
		err = c.alive()
	}
	return n, c.noted(err)
}

func (c *watched) noted(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.silent.Store(true)
	}
	return err
}

func (c *watched) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if err = c.alive(); err == nil {
			var k int
			k, err = c.Conn.Write(p[n:min(n+writeAtOnce, len(p))])
			n += k
		}
	}
	if err == nil {
		err = c.alive()
	}
	return n, c.noted(err)
}

// writeAtOnce is what must go within the time: on a bad link a larger piece could take longer without any silence.
const writeAtOnce = 64 << 10
