package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/covetpy/covet/server/tracing"
	"github.com/go-chi/chi/v5"
)

// response is the one ResponseWriter around net/http's: it adds headers when they are sent, and remembers the status and
// size for metrics and the log. It is pooled; a hijacked one is not, since what holds the connection may hold it too.
type response struct {
	http.ResponseWriter
	server   *Server
	request  *http.Request // as the handlers see it
	ctx      *requestContext
	route    chi.Context
	start    time.Time
	bytes    int64
	status   int // 0 until headers are sent
	own      bool
	pattern  string     // the endpoint where no route of the application's answers
	hijacked net.Conn   // the connection, once a handler has taken it
	paced    *pacedBody // the request's body, where it has one
	duplex   bool       // body and answer may be under way together

	span       *tracing.Span // nil without traces
	shard      *flightShard  // links of the list of requests in flight
	prev, next *response
}

// Unwrap gives http.ResponseController the writer below.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the headers, adding the runtime's where the handler has not set them.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || w.hijacked != nil {
		w.ResponseWriter.WriteHeader(status) // net/http logs the superfluous call
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status) // informational: the real headers follow
		return
	}
	w.status = status
	if w.paced != nil && (w.duplex || w.request.ProtoMajor > 1) {
		w.paced.answering()
	}
	h := w.Header()
	for _, f := range securityHeaders {
		f.set(h)
	}
	if w.request.TLS != nil {
		strictTransport.set(h)
	}
	if _, ok := h[headerRequestID]; !ok {
		h[headerRequestID] = w.ctx.id[:]
	}
	if w.ctx.session != nil {
		w.ctx.carrySession(h, w.request.TLS != nil)
	}
	if !w.own {
		w.server.cross.answer(h, w.request)
		w.server.limits.answer(h, w.ctx)
	}
	if status != http.StatusSwitchingProtocols && (w.server.closing.Load() || ambiguous(w.request)) {
		h["Connection"] = connectionClose
	}
	w.ResponseWriter.WriteHeader(status)
}

// ambiguous says whether the request may have had a length beside its chunks: net/http takes the chunks and drops the
// length, by which a proxy in front may have seen another request's begin. The connection must not go on then (RFC 9112,
// 6.1), and as the length is not to be seen any more, not after any chunked request. Nor after one of HTTP/1.0 that may
// have a body and says no length: net/http does not look at what it says of chunks.
func ambiguous(r *http.Request) bool {
	switch {
	case r.ProtoMajor != 1:
		return false
	case r.ProtoAtLeast(1, 1):
		return len(r.TransferEncoding) > 0
	}
	return r.Method != http.MethodGet && r.Method != http.MethodHead && len(r.Header["Content-Length"]) == 0
}

// Write sends a part of the body.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// WriteString sends a part of the body without copying it.
func (w *response) WriteString(s string) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := io.WriteString(w.ResponseWriter, s)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom sends the body from a reader: for files and sockets, inside the kernel.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// Flush sends what is buffered.
func (w *response) Flush() {
	// Flush of http.Flusher has no error to return; the next Write has it.
	_ = w.FlushError()
}

// FlushError sends what is buffered, as http.ResponseController asks for it.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack hands the connection to the handler. It stays known to the server, which waits for it when it stops.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = c
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return c, rw, err
}
