package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// pacedBody is a request's body whose sender has to keep up a rate: whoever sends a byte now and then, to hold a
// connection and whatever serves it, is given up. What counts is the time spent waiting for the sender, not that which
// the handler takes between two reads. Once an answer is under way beside the body, client and handler talk with each
// other, and may be silent as long as they like.
type pacedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	grace time.Duration // the longest silence, and what a body may take however small it is
	rate  int64         // bytes a second that a longer body must come at; 0: any

	mu     sync.Mutex
	free   bool          // no rule any more
	manual bool          // because somebody has set a deadline of their own
	ended  bool          // the body has been read to its end
	waited time.Duration // for the sender
	bytes  int64
}

// pace gives the request's body its rule. The deadline is set at once: a body that the handler does not read is read by
// net/http, up to 256 KiB.
func (w *response) pace(body io.ReadCloser) io.ReadCloser {
	c := &w.server.cfg
	if c.BodyGrace <= 0 || c.ReadTimeout > 0 {
		return body
	}
	p := &pacedBody{ReadCloser: body, conn: http.NewResponseController(w.ResponseWriter), grace: c.BodyGrace, rate: c.BodyMinRate}
	w.paced = p
	p.deadline(time.Now().Add(p.grace))
	return p
}

// deadline sets it on the connection. Where the connection cannot have one, the body goes without.
func (p *pacedBody) deadline(t time.Time) {
	if p.conn.SetReadDeadline(t) != nil {
		p.free = true
	}
}

// Read reads a part of the body, if it comes in time: else the error is os.ErrDeadlineExceeded.
func (p *pacedBody) Read(b []byte) (int, error) {
	begun, ruled := p.begin()
	n, err := p.ReadCloser.Read(b)
	p.account(begun, ruled, n, err)
	return n, err
}

// begin sets the deadline of a read.
func (p *pacedBody) begin() (now time.Time, ruled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free {
		return now, false
	}
	now = time.Now()
	left := p.grace
	if p.rate > 0 {
		earned := time.Duration(float64(p.bytes) / float64(p.rate) * float64(time.Second))
		left = min(left, max(0, p.grace+earned-p.waited))
	}
	p.deadline(now.Add(left))
	return now, true
}

// account counts a read. At the body's end the deadline goes: it would end the wait for a long answer.
func (p *pacedBody) account(begun time.Time, ruled bool, n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ruled {
		p.waited += time.Since(begun)
	}
	p.bytes += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		p.ended = true
		p.lift()
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.free, p.manual = true, true // nobody waits for the rest
	}
}

// lift ends the rule. p.mu is held.
func (p *pacedBody) lift() {
	if !p.free {
		p.deadline(time.Time{})
		p.free = true
	}
}

// answering says that the answer is under way while the body may still come.
func (p *pacedBody) answering() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lift()
}

// leave says that the handler has returned: what it left of the body is net/http's to read, and is not waited for long.
func (p *pacedBody) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.manual {
		p.deadline(time.Now().Add(p.grace))
	}
	p.free = true
}

// SetReadDeadline lets a handler set a deadline of its own through http.ResponseController: it replaces the rule.
func (w *response) SetReadDeadline(t time.Time) error {
	if p := w.paced; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free, p.manual = true, true
	}
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}

// EnableFullDuplex lets a handler answer while it reads the body, as it always may with HTTP/2.
func (w *response) EnableFullDuplex() error {
	w.duplex = true
	return http.NewResponseController(w.ResponseWriter).EnableFullDuplex()
}

// received is how much of the request's body has come.
func (w *response) received() int64 {
	if p := w.paced; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.bytes
	}
	return max(0, w.request.ContentLength)
}
