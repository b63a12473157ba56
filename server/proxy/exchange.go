package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	// maxInterim is how many interim answers (1xx) an instance may send before the real one.
	maxInterim = 8
	// continueWait is how long an instance may take to ask for a body with 100 Continue before it is sent all the same.
	continueWait = time.Second
	// downFor is how long an instance that refused a connection is chosen last.
	downFor = 500 * time.Millisecond
)

// exchange is one request on its way to an answer.
type exchange struct {
	b   *Balancer
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context
	out outbound

	hold   hold
	turn   uint64
	tried  []*instance // could not be reached, or broke the connection
	stale  bool        // the last attempt broke a reused connection: the same instance will do, if there is no other
	fresh  bool        // that has happened: from now on only a new connection will do
	missed bool        // the candidate was asked for and is not ready

	in         *instance
	answeredAt time.Time
	upload     *upload
	upgraded   bool    // in flight as an upgraded connection, no longer as a request
	unflushed  bool    // the client's connection holds something back
	head       *[]byte // behind out.wire
	bulk       *[]byte // lent to the connection for a large body
}

// ServeHTTP passes the request to an instance and its answer back. Where there is no answer it says why in JSON: 503
// no_ready_instance, 502 instances_unreachable, no_answer or bad_answer, 504 answer_timeout, and 4xx for faults of the
// request. An answer that breaks off after it has begun breaks the client's connection off (http.ErrAbortHandler).
func (b *Balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{b: b, w: w, r: r, ctx: r.Context(), hold: hold{b: b}}
	x.head = b.heads.get()
	var fail *failure
	if x.out, fail = b.prepare(r, *x.head); fail == nil {
		fail = x.run()
	}
	x.sent()
	if fail != nil {
		x.fail(fail)
	}
}

// sent gives back the buffer of the request's head, which is not needed any more: an answer may take hours.
func (x *exchange) sent() {
	if x.head != nil {
		if x.out.wire != nil {
			*x.head = x.out.wire
			x.out.wire = nil
		}
		x.b.heads.put(x.head)
		x.head = nil
	}
}

// run makes attempts until the request is answered or there is no point in another.
func (x *exchange) run() *failure {
	canary := x.out.canary
	if x.turn = x.b.turn.Load(); !canary {
		x.turn = x.b.turn.Add(1)
	}
	for {
		t := x.b.table.Load()
		c := t.pick(x.turn, canary, x.out.upgrade != "", x.tried)
		x.missed = c.missed
		switch {
		case c.in == nil && x.stale:
			x.stale, x.tried = false, x.tried[:0]
			continue
		case c.in == nil:
			if fail := x.hold.wait(x.ctx, t); fail != nil {
				return fail
			}
			x.tried = x.tried[:0]
			continue
		case !c.in.acquire():
			runtime.Gosched() // it is leaving; the table without it is a moment away
			continue
		}
		fail := x.attempt(c.in)
		if fail == nil || !fail.again {
			return fail
		}
		c.in.retried.Add(1)
		x.tried = append(x.tried, c.in)
	}
}

// attempt tries one instance, which is acquired and will be released.
func (x *exchange) attempt(in *instance) (fail *failure) {
	x.in, x.stale = in, false
	defer x.leave()
	start := time.Now()
	c, fail := x.connect(start)
	if fail != nil {
		return x.account(fail)
	}
	stop := context.AfterFunc(x.ctx, c.kill)
	keep := false
	defer func() {
		x.endUpload(c) // has been called, unless a middleware's writer has panicked
		if stop() && keep {
			in.pool.put(c, x.answeredAt)
		} else {
			in.pool.drop(c)
		}
	}()
	resp, fail := x.send(c, start)
	if fail != nil {
		c.kill()
		x.endUpload(c)
		if fail = x.excuse(fail); fail.again {
			return fail
		}
		in.requests.Add(1)
		return x.account(fail)
	}
	x.sent()
	in.requests.Add(1)
	x.answeredAt = time.Now()
	in.latency.observe(x.answeredAt.Sub(start))
	if resp.status == http.StatusSwitchingProtocols {
		return x.account(x.switchProtocols(c, resp, stop))
	}
	in.answered(resp.status)
	keep, fail = x.relay(c, resp)
	return x.account(x.excuse(fail))
}

func (x *exchange) leave() {
	if x.upgraded {
		x.in.endUpgrade()
	} else {
		x.in.release()
	}
}

// connect takes an idle connection or makes a new one.
func (x *exchange) connect(now time.Time) (*conn, *failure) {
	if !x.fresh {
		if c := x.in.pool.take(now, !x.out.repeat); c != nil {
			return c, nil
		}
	}
	c, err := x.in.pool.dial(x.ctx)
	if err == nil {
		x.in.down.Store(false)
		return c, nil
	}
	if x.ctx.Err() != nil {
		return nil, abandoned(x.ctx)
	}
	if in := x.in; in.down.CompareAndSwap(false, true) {
		time.AfterFunc(downFor, func() { in.down.Store(false) })
	}
	return nil, connectFailure(err)
}

// send writes the request and reads the head of its answer.
func (x *exchange) send(c *conn, now time.Time) (*response, *failure) {
	if err := c.expectWithin(now, x.b.opts.ResponseHeaderTimeout); err != nil {
		return nil, x.broken(c, err, true)
	}
	if n, err := c.Write(x.out.wire); err != nil {
		return nil, x.broken(c, err, n == 0)
	}
	x.in.bytesIn.Add(uint64(x.out.bodySize))
	if !x.out.stream {
		return x.await(c, false)
	}
	if x.out.continued {
		resp, fail := x.awaitContinue(c)
		if fail != nil || resp != nil {
			return resp, fail
		}
	}
	if err := c.expectWhenever(); err != nil {
		return nil, x.broken(c, err, false)
	}
	x.upload = x.startUpload(c)
	resp, fail := x.await(c, false)
	if err := x.upload.answered(); err != nil && fail == nil {
		fail = x.broken(c, err, false)
	}
	return resp, fail
}

// await reads heads until the one that answers. With proceed set, 100 Continue does.
func (x *exchange) await(c *conn, proceed bool) (*response, *failure) {
	for n := range maxInterim {
		resp, err := c.readHead(x.out.method)
		if err != nil {
			stale := n == 0 && len(c.buffered()) == 0 && c.reused && x.out.repeat
			return nil, x.broken(c, err, stale)
		}
		c.fields = resp.fields
		switch {
		case resp.status == http.StatusSwitchingProtocols:
			if x.out.upgrade == "" {
				return nil, malformedAnswer(faulty("it switches protocols without being asked to"))
			}
			return resp, nil
		case resp.status >= 200, resp.status == http.StatusContinue && proceed:
			return resp, nil
		case resp.status != http.StatusContinue:
			x.interim(resp)
		}
	}
	return nil, malformedAnswer(faulty("more than %d interim answers came before it", maxInterim))
}

// awaitContinue waits for 100 Continue, a final answer, or continueWait. It returns the final answer, or nil where the
// body is to be sent now. Reading the body lets the server send its own 100 Continue to the client.
func (x *exchange) awaitContinue(c *conn) (*response, *failure) {
	c.readBy = time.Now().Add(continueWait)
	if err := c.SetReadDeadline(c.readBy); err != nil {
		return nil, x.broken(c, err, false)
	}
	resp, fail := x.await(c, true)
	switch {
	case fail != nil && fail.kind == timedOut && errors.Is(fail.cause, os.ErrDeadlineExceeded):
		return nil, nil
	case fail != nil || resp.status != http.StatusContinue:
		return resp, fail
	}
	return nil, nil
}

// broken classifies an error on the connection. unsent says that the request may be made again if the connection was dead.
func (x *exchange) broken(c *conn, err error, unsent bool) *failure {
	fail := noAnswer(err)
	if fail.kind == closedEarly && unsent && c.reused && dead(err) {
		fail.again, x.stale, x.fresh = true, true, true
	}
	return fail
}

// dead says whether err is how a connection reports that its other end is gone.
func dead(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// excuse finds out whether a failure was the instance's at all: when the client goes, or Leave runs out of time, the
// connection is closed on this side and looks broken.
func (x *exchange) excuse(fail *failure) *failure {
	switch {
	case fail == nil || fail.cancelled:
		return fail
	case x.upload != nil && !x.upload.stopped && x.upload.clientErr() != nil:
		client := bodyFailure(x.ctx, x.upload.clientErr())
		client.abort = fail.abort
		return client
	case x.ctx.Err() != nil:
		gone := abandoned(x.ctx)
		gone.abort = fail.abort
		return gone
	case x.in.cut.Load():
		cut := *fail
		cut.kind, cut.again = cutOff, false
		return &cut
	}
	return fail
}

// account counts and logs a failure at the instance, and returns it.
func (x *exchange) account(fail *failure) *failure {
	switch {
	case fail == nil:
	case fail.cancelled:
		x.in.cancelled.Add(1)
	case fail.kind == notInstance:
	default:
		x.in.failures[fail.kind].Add(1)
		if !fail.again {
			x.b.log.failed(x.in, fail)
		}
	}
	return fail
}

// fail tells the client why there is no answer, or breaks off the one that has begun.
func (x *exchange) fail(fail *failure) {
	if fail.abort {
		panic(http.ErrAbortHandler)
	}
	switch {
	case fail.status == http.StatusServiceUnavailable, fail.code == "instances_unreachable":
		x.b.refused.Add(1)
	case fail.kind == notInstance && fail.status != statusClientGone:
		x.b.invalid.Add(1)
	}
	h := x.w.Header()
	if x.in != nil && fail.kind != notInstance {
		x.sign(h)
	}
	if x.upload != nil && !x.upload.consumed.Load() {
		h.Set("Connection", "close") // the rest of the body is still to come, and nobody wants it
	}
	fail.answer(x.w)
}

// sign names the release that the answer is about.
func (x *exchange) sign(h http.Header) {
	if x.missed {
		h.Set("X-Covet-Canary", "unavailable")
	}
	if !x.b.opts.HideRelease {
		h["X-Covet-Release"] = []string{x.in.Release}
	}
}
