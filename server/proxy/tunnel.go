package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// halfOpen is how long one side of an upgraded connection may be silent after the other has ended its own.
const halfOpen = 30 * time.Second

// errUpgradesCut is the cause of a CutError that is about upgraded connections alone.
var errUpgradesCut = errors.New("upgraded connections outlived their drain")

// tunnel is an upgraded connection: what either side sends goes to the other.
type tunnel struct {
	toClient, toInstance direction
	half                 atomic.Bool // one side has ended
	cutOff               atomic.Bool
}

// direction is one half of a tunnel.
type direction struct {
	src, dst net.Conn

	mu     sync.Mutex
	frames *frames // nil where the protocol is not WebSocket
	going  bool    // a close frame is to follow the frame that is passing
	ended  bool    // a close frame has been written in the peer's place: nothing may follow it
}

func newTunnel(client net.Conn, c *conn, websocket bool) *tunnel {
	t := &tunnel{
		toClient:   direction{src: c, dst: client},
		toInstance: direction{src: client, dst: c},
	}
	if websocket {
		t.toClient.frames = &frames{}
		t.toInstance.frames = &frames{masked: true}
	}
	return t
}

// run passes bytes until both directions have ended. early and late are what was read of either side before.
func (t *tunnel) run(early, late []byte, count *counters) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.pass(&t.toInstance, early, &count.bytesIn)
	}()
	t.pass(&t.toClient, late, &count.bytesOut)
	<-done
	t.close()
}

// pass copies one direction and then ends the far side of it.
func (t *tunnel) pass(d *direction, first []byte, count *atomic.Uint64) {
	err := d.write(first)
	count.Add(uint64(len(first)))
	buf := make([]byte, 16<<10)
	for err == nil {
		if t.half.Load() {
			if err = d.src.SetReadDeadline(time.Now().Add(halfOpen)); err != nil {
				break
			}
		}
		var n int
		n, err = d.src.Read(buf)
		count.Add(uint64(n))
		if werr := d.write(buf[:n]); werr != nil {
			err = werr
		}
	}
	if !errors.Is(err, io.EOF) || !closeWrite(d.dst) {
		t.close()
		return
	}
	t.half.Store(true)
	// The other direction may be waiting in a read without a deadline. It fails only where that is over already.
	_ = d.dst.SetReadDeadline(time.Now().Add(halfOpen))
}

// closeWrite passes the end of one direction on, where the connection knows how to.
func closeWrite(c net.Conn) bool {
	if inner, ok := c.(*conn); ok {
		c = inner.Conn
	}
	h, ok := c.(interface{ CloseWrite() error })
	return ok && h.CloseWrite() == nil
}

// write passes b on and minds where frames end.
func (d *direction) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil
	}
	if d.frames == nil {
		_, err := d.dst.Write(b)
		return err
	}
	passed := 0
	for passed < len(b) && (!d.going || !d.frames.between()) {
		passed += d.frames.skip(b[passed:])
	}
	if _, err := d.dst.Write(b[:passed]); err != nil {
		return err
	}
	return d.leave()
}

// goAway writes a close frame as soon as the frame that is passing has passed. A receiver that does not take it within
// closeGrace loses the connection.
func (d *direction) goAway() error {
	if err := d.dst.SetWriteDeadline(time.Now().Add(closeGrace)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.going = true
	return d.leave()
}

// leave writes the close frame when it is due. d.mu is held.
func (d *direction) leave() error {
	if !d.going || d.ended || !d.frames.between() {
		return nil
	}
	d.ended = true
	if d.frames.closed {
		return nil // the peer has said so itself
	}
	_, err := d.dst.Write(goingAway(d.frames.masked))
	return err
}

// goAway ends a WebSocket in order and anything else at once. It returns when that is over.
func (t *tunnel) goAway(gone <-chan struct{}) {
	if t.toClient.frames == nil || t.toClient.goAway() != nil || t.toInstance.goAway() != nil {
		t.cut()
		return
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-gone:
	case <-grace.C:
		t.cut()
	}
}

func (t *tunnel) cut() {
	t.cutOff.Store(true)
	t.close()
}

func (t *tunnel) close() {
	// Both are given up; how their closing went is of no use to anybody.
	_ = t.toClient.dst.Close()
	_ = t.toInstance.dst.Close()
}

// tunnels are the upgraded connections of one instance.
type tunnels struct {
	mu    sync.Mutex
	open  map[*tunnel]chan struct{} // closed when the tunnel has ended
	going bool
	lost  int // cut off while they were open
}

// run runs t and keeps it among the open ones until it has ended.
func (s *tunnels) run(t *tunnel, early []byte, count *counters) {
	gone := make(chan struct{})
	s.mu.Lock()
	if s.open == nil {
		s.open = make(map[*tunnel]chan struct{})
	}
	s.open[t] = gone
	if s.going {
		go t.goAway(gone)
	}
	s.mu.Unlock()
	c := t.toInstance.dst.(*conn)
	t.run(early, c.buffered(), count)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
	close(gone)
	if t.cutOff.Load() {
		s.lost++
	}
}

// goAway ends those that are open and those that may still come.
func (s *tunnels) goAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.going = true
	for t, gone := range s.open {
		go t.goAway(gone)
	}
}

// cut breaks all of them off.
func (s *tunnels) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.open {
		t.cut()
	}
}

// cutError reports those that had to be cut, nil where there were none.
func (s *tunnels) cutError(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == 0 {
		return nil
	}
	return &CutError{ID: id, Upgraded: s.lost, Cause: fmt.Errorf("%w: %w", errUpgradesCut, context.DeadlineExceeded)}
}
