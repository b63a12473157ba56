package ws

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Conn is an open WebSocket.
type Conn struct {
	User    string // who opened it, or ""
	Address string // from where

	g      *Registry
	raw    *websocket.Conn // under the registry's lock until the handler runs
	silent atomic.Bool     // it did not answer a ping
	gone   atomic.Bool     // it was told that the service goes away
}

// Read waits for the next message.
func (c *Conn) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	kind, message, err := c.raw.Read(ctx)
	if err == nil {
		c.g.stats.messages.WithLabelValues("in").Inc()
	}
	return kind, message, err
}

// Write sends a message. A receiver that does not take it in time loses the connection.
func (c *Conn) Write(ctx context.Context, kind websocket.MessageType, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.g.opts.WriteTimeout)
	defer cancel()
	if err := c.raw.Write(ctx, kind, message); err != nil {
		return err
	}
	c.g.stats.messages.WithLabelValues("out").Inc()
	return nil
}

// keepAsking sends ping frames, and ends the connection when one is not answered: whoever is at the other end of a dead
// line cannot say so.
func (c *Conn) keepAsking(ctx context.Context, cancel context.CancelFunc) {
	tick := time.NewTicker(c.g.opts.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking, done := context.WithTimeout(ctx, c.g.opts.PingTimeout)
		err := c.raw.Ping(asking)
		late := errors.Is(asking.Err(), context.DeadlineExceeded)
		done()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.silent.Store(late)
			_ = c.raw.CloseNow() // which makes the handler's read return
			cancel()
			return
		}
	}
}

// goAway closes the connection with 1001.
func (c *Conn) goAway() {
	c.gone.Store(true)
	_ = c.raw.Close(websocket.StatusGoingAway, "going away") // the other side may have gone before
}

// disconnected says whether a read or a write failed because the connection is no more.
func disconnected(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &netErr)
}
