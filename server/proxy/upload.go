package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// lateBody is how long a request body is still taken from the client after it has been answered in full: a client that is
// cut off while sending may never read the answer.
const lateBody = 2 * time.Second

// reasonWait is how long the end of a body may come after that of its request's context.
const reasonWait = 50 * time.Millisecond

// upload sends a request's body in the background, while its answer may already be on the way.
type upload struct {
	c        *conn
	r        *http.Request
	chunked  bool
	patience time.Duration // for the instance to take a piece, and to answer when it has all
	buf      *[]byte
	sent     *atomic.Uint64

	// consumed is set once the client's body has been read to its end, before the last of it is sent: when an answer to the
	// whole request comes, it is already set.
	consumed atomic.Bool
	done     chan struct{}

	// For others once done is closed.
	readErr  error // of the client's body
	complete bool  // everything was sent

	stopped bool // by endUpload: an error of the client's body is our own doing

	mu       sync.Mutex
	headSeen bool
}

func (x *exchange) startUpload(c *conn) *upload {
	// Where this is not supported (HTTP/2, which does it anyway, or a middleware's writer) there is nothing to be done.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	u := &upload{
		c: c, r: x.r, chunked: x.out.chunked, patience: x.b.opts.ResponseHeaderTimeout,
		buf: x.b.bulks.get(), sent: &x.in.bytesIn, done: make(chan struct{}),
	}
	go u.run()
	return u
}

// run sends the body. When the instance stops reading it goes on to take the body from the client, to no other end than
// that the client should come to read the answer.
func (u *upload) run() {
	defer close(u.done)
	var err error
	if u.chunked {
		err = u.sendChunks(*u.buf)
	} else {
		err = u.sendLength(*u.buf, u.r.ContentLength)
	}
	switch {
	case u.readErr != nil:
		u.c.kill() // an instance must not take part of a body for the whole
	case err != nil:
		if _, err := io.Copy(io.Discard, u.r.Body); err == nil {
			u.consumed.Store(true)
		}
	default:
		u.complete = true
		u.expectAnswer()
	}
}

func (u *upload) sendLength(buf []byte, left int64) error {
	for left > 0 {
		n, err := u.r.Body.Read(buf[:min(int64(len(buf)), left)])
		if left -= int64(n); left == 0 {
			u.consumed.Store(true)
		} else if err != nil {
			u.readErr = unexpected(err)
			return u.readErr
		}
		if err := u.write(buf[:n], n); err != nil {
			return err
		}
	}
	return nil
}

// sendChunks sends each piece that is read as one chunk in one write. The room before the piece is for its size.
func (u *upload) sendChunks(buf []byte) error {
	const room = len("ffff\r\n") + 2
	for {
		n, err := u.r.Body.Read(buf[room : len(buf)-2])
		if n > 0 {
			size := strconv.AppendInt(make([]byte, 0, room), int64(n), 16)
			size = append(size, "\r\n"...)
			start := room - copy(buf[room-len(size):room], size)
			copy(buf[room+n:], "\r\n")
			if err := u.write(buf[start:room+n+2], n); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			u.consumed.Store(true)
			return u.write(u.appendEnd(buf[:0]), 0)
		case err != nil:
			u.readErr = err
			return err
		}
	}
}

// appendEnd appends the last chunk and the trailers that were announced.
func (u *upload) appendEnd(dst []byte) []byte {
	dst = append(dst, "0\r\n"...)
	for name, values := range u.r.Trailer {
		if barred(name) || !validName(name) {
			continue
		}
		for _, v := range values {
			if validValue(v) {
				dst = append(append(append(append(dst, name...), ": "...), v...), "\r\n"...)
			}
		}
	}
	return append(dst, "\r\n"...)
}

func (u *upload) write(b []byte, body int) error {
	if err := u.c.SetWriteDeadline(time.Now().Add(u.patience)); err != nil {
		return err
	}
	if _, err := u.c.Write(b); err != nil {
		return err
	}
	u.sent.Add(uint64(body))
	return nil
}

// expectAnswer starts the wait for the answer's head, unless it is there already.
func (u *upload) expectAnswer() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.headSeen {
		// An error would mean that the connection is closed, which whoever reads it will find.
		_ = u.c.SetReadDeadline(time.Now().Add(u.patience))
	}
}

// answered ends that wait.
func (u *upload) answered() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.headSeen = true
	return u.c.SetReadDeadline(time.Time{})
}

// clientErr is what was wrong with the client's body, as far as is known.
func (u *upload) clientErr() error {
	select {
	case <-u.done:
		return u.readErr
	default:
		return nil
	}
}

// endUpload waits until nobody reads the request's body any more, which must not be read once the handler has returned.
// It returns whether all of it reached the instance; a second call does nothing.
func (x *exchange) endUpload(c *conn) bool {
	u := x.upload
	if u == nil || u.buf == nil {
		return u == nil
	}
	late := time.NewTimer(lateBody)
	defer late.Stop()
	select {
	case <-u.done:
	case <-x.ctx.Done():
		x.awaitReason(u)
	case <-late.C:
	}
	select {
	case <-u.done:
	default:
		u.stopped = true
		c.kill()
		x.stopReading()
		<-u.done
	}
	x.b.bulks.put(u.buf)
	u.buf = nil
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		return false
	}
	return u.complete
}

// awaitReason waits a moment for the upload to end by itself: a body that fails ends the request's context first, and only
// the body says why.
func (x *exchange) awaitReason(u *upload) {
	select {
	case <-u.done:
	case <-time.After(reasonWait):
	}
}

// stopReading makes a pending read of the request's body return.
func (x *exchange) stopReading() {
	err := http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
	if err != nil && x.r.ProtoMajor > 1 {
		// HTTP/2 gives up a body that is closed; of HTTP/1 closing would wait for the read.
		_ = x.r.Body.Close()
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
