package proxy

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// spliceFrom is the length from which a body is handed to the server's ReadFrom: for TCP on both sides the kernel then
// moves it without copying.
const spliceFrom = 64 << 10

// interim passes on an interim answer such as 103 Early Hints. Its fields are not those of the real answer.
func (x *exchange) interim(resp *response) {
	if !x.r.ProtoAtLeast(1, 1) {
		return
	}
	h := x.w.Header()
	before := maps.Clone(h)
	clear(h)
	copyFields(h, resp)
	x.w.WriteHeader(resp.status)
	clear(h)
	maps.Copy(h, before)
}

// relay passes the answer to the client. keep says whether the connection may carry another request.
func (x *exchange) relay(c *conn, resp *response) (keep bool, fail *failure) {
	h := x.w.Header()
	copyFields(h, resp)
	x.sign(h)
	if resp.length >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(resp.length, 10)}
	}
	if _, given := h["Content-Type"]; !given {
		h["Content-Type"] = nil // or the server would guess one
	}
	if resp.framing == byChunks && len(resp.trailer) > 0 {
		h["Trailer"] = resp.trailer
	}
	if x.upload != nil && !x.upload.consumed.Load() && x.r.ProtoMajor == 1 {
		h.Set("Connection", "close") // the client may go on sending for long; do not promise to read it all
	}
	x.w.WriteHeader(resp.status)
	x.unflushed = true
	fail = x.relayBody(c, resp)
	complete := !x.out.stream
	if x.upload != nil {
		if fail == nil {
			fail = x.flush()
		}
		complete = x.endUpload(c)
	}
	return fail == nil && complete && resp.keepAlive && len(c.buffered()) == 0, fail
}

func (x *exchange) relayBody(c *conn, resp *response) (fail *failure) {
	switch resp.framing {
	case byLength:
		fail = x.relayLength(c, resp.length)
	case byChunks:
		fail = x.relayChunks(c, resp)
	case byClose:
		fail = x.relayRest(c)
	}
	if x.bulk != nil {
		c.giveBack()
		x.b.bulks.put(x.bulk)
		x.bulk = nil
	}
	return fail
}

// relayLength passes on exactly n bytes.
func (x *exchange) relayLength(c *conn, n int64) *failure {
	write := func() *failure {
		b := c.buffered()
		b = b[:min(int64(len(b)), n)]
		n -= int64(len(b))
		fail := x.write(b)
		c.advance(len(b))
		return fail
	}
	if fail := write(); fail != nil || n == 0 {
		return fail
	}
	if rf, ok := x.w.(io.ReaderFrom); ok && n >= spliceFrom {
		return x.splice(c, rf, n)
	}
	var lost *failure
	idle := x.idle(c, &lost)
	for n > 0 {
		if err := c.fillOrIdle(idle); err != nil {
			return cmp.Or(lost, broken(err))
		}
		if fail := write(); fail != nil {
			return fail
		}
	}
	return nil
}

// splice lets the server's ReadFrom take n bytes from the connection.
func (x *exchange) splice(c *conn, rf io.ReaderFrom, n int64) *failure {
	if err := c.expectWhenever(); err != nil {
		return broken(err)
	}
	rest := &io.LimitedReader{R: c.Conn, N: n}
	_, err := rf.ReadFrom(rest)
	x.in.bytesOut.Add(uint64(n - rest.N))
	switch {
	case err == nil && rest.N == 0:
		return nil
	case err == nil:
		return broken(io.ErrUnexpectedEOF)
	case c.died():
		return broken(err)
	}
	return clientLost(err)
}

// relayChunks passes on a body in chunks as it comes, and its trailers.
func (x *exchange) relayChunks(c *conn, resp *response) *failure {
	k := chunks{c: c}
	var lost *failure
	idle := x.idle(c, &lost)
	for {
		b, err := k.next(idle)
		switch {
		case errors.Is(err, io.EOF):
			return x.relayTrailers(k.trailers, resp.trailer)
		case err != nil:
			return cmp.Or(lost, broken(err))
		}
		if fail := x.write(b); fail != nil {
			return fail
		}
	}
}

// relayTrailers sets the trailers that came: under their own names where they were announced.
func (x *exchange) relayTrailers(trailers []field, announced []string) *failure {
	if len(trailers) == 0 {
		return nil
	}
	if fail := x.flush(); fail != nil { // or a short body would be sent with a length, and no trailers
		return fail
	}
	h := x.w.Header()
	for _, name := range announced {
		delete(h, name)
	}
	for _, t := range trailers {
		if slices.Contains(announced, t.name) {
			h[t.name] = append(h[t.name], t.value)
		} else {
			h[http.TrailerPrefix+t.name] = append(h[http.TrailerPrefix+t.name], t.value)
		}
	}
	return nil
}

// relayRest passes on everything until the instance closes the connection.
func (x *exchange) relayRest(c *conn) *failure {
	var lost *failure
	idle := x.idle(c, &lost)
	for {
		b := c.buffered()
		if fail := x.write(b); fail != nil {
			return fail
		}
		c.advance(len(b))
		switch err := c.fillOrIdle(idle); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return cmp.Or(lost, broken(err))
		}
	}
}

// idle returns what is to be done before waiting for more of a body: the client gets what there is, the deadline of the
// head no longer holds, and what comes next gets a larger buffer. lost is set if the client turns out to be gone.
func (x *exchange) idle(c *conn, lost **failure) func() error {
	return func() error {
		if *lost = x.flush(); *lost != nil {
			return *lost
		}
		if x.bulk == nil {
			x.bulk = x.b.bulks.get()
			c.borrow(*x.bulk)
		}
		return c.expectWhenever()
	}
}

func (x *exchange) write(b []byte) *failure {
	if len(b) == 0 {
		return nil
	}
	x.unflushed = true
	n, err := x.w.Write(b)
	x.in.bytesOut.Add(uint64(n))
	if err != nil {
		return clientLost(err)
	}
	return nil
}

// flush sends the client what the server holds back.
func (x *exchange) flush() *failure {
	if !x.unflushed {
		return nil
	}
	x.unflushed = false
	if err := http.NewResponseController(x.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return clientLost(err)
	}
	return nil
}

// broken is the failure of an answer that broke off in the middle of its body.
func broken(err error) *failure {
	return &failure{kind: truncated, abort: true, code: "truncated_answer", text: "the instance's answer broke off", cause: err}
}

// clientLost is the failure of writing to the client.
func clientLost(err error) *failure {
	return &failure{kind: notInstance, abort: true, cancelled: true, code: "client_gone", text: "the client closed the connection", cause: err}
}

// copyFields adds the end-to-end fields of an answer to h. They take the place of what a middleware has set before, except
// where both have something to say.
func copyFields(h http.Header, resp *response) {
	drop := nominated(resp.connection)
	if len(h) > 0 {
		for _, f := range resp.fields {
			if f.name != "Set-Cookie" && f.name != "Vary" {
				delete(h, f.name)
			}
		}
	}
	values := make([]string, len(resp.fields))
	for i, f := range resp.fields {
		if hopByHop(f.name) || f.name == "Content-Length" || len(drop) > 0 && slices.Contains(drop, f.name) {
			continue
		}
		if before, ok := h[f.name]; ok {
			h[f.name] = append(before, f.value)
			continue
		}
		values[i] = f.value
		h[f.name] = values[i : i+1 : i+1]
	}
}
