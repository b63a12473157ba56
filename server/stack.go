package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// maxHold is how long a request that arrives before the components have started is kept waiting for them.
const maxHold = 10 * time.Second

// ServeHTTP is the whole stack around the application's routes: request id, client address, limits, security headers,
// panic recovery, metrics and the access log, in one step with one ResponseWriter.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := s.begin(rw, r)
	defer w.end()
	if r.ContentLength != 0 {
		w.request.Body = w.pace(r.Body)
	}
	if r.Method == "PRI" { // HTTP/2 without TLS, which is not spoken: what follows is no request of HTTP/1
		w.Header()["Connection"] = connectionClose
		writeProblem(w, w.request, http.StatusHTTPVersionNotSupported, "HTTP/2 is spoken over TLS only")
		return
	}
	if page, ok := s.own[r.URL.Path]; ok {
		w.own = true
		page.ServeHTTP(w, w.request)
		return
	}
	if s.assets.serve(w, w.request) {
		return
	}
	if s.starting.Load() && !s.awaitStart(w) {
		return
	}
	if !s.admit(w) {
		return
	}
	switch limit := s.cfg.MaxBodyBytes; {
	case r.ContentLength > limit:
		if r.ProtoMajor == 1 {
			w.Header()["Connection"] = connectionClose // the body is not read: the connection cannot go on
		}
		writeProblem(w, w.request, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
		return
	case r.ContentLength != 0:
		w.request.Body = http.MaxBytesReader(rw, w.request.Body, limit)
	}
	if page, ok := s.logins[r.URL.Path]; ok {
		w.pattern = r.URL.Path
		page(w, w.request)
		return
	}
	if s.cfg.GzipEnabled && w.request.Header["Upgrade"] == nil {
		encoded(w, w.request, s.packed, s.router)
		return
	}
	s.router.ServeHTTP(w, w.request)
}

// admit says who asks, and answers and returns false where the request must not go on. Who has no right to ask counts
// against the limits too.
func (s *Server) admit(w *response) bool {
	if !s.cross.admit(w, w.request) {
		return false
	}
	s.identity.authenticate(w)
	user := ""
	if w.ctx.principal != nil {
		user = w.ctx.principal.User
		s.metrics.customers.count(user, w.start)
	}
	return s.limits.admit(w, user)
}

// begin takes a response from the pool and makes the request's context.
func (s *Server) begin(rw http.ResponseWriter, r *http.Request) *response {
	w := s.responses.Get().(*response)
	w.ResponseWriter = rw
	w.start = time.Now()
	w.status, w.bytes, w.own, w.pattern, w.paced, w.duplex = 0, 0, false, "", nil, false
	w.route.Reset()
	w.route.Routes = s.router
	parent := r.Context()
	if s.tracer != nil {
		parent = s.trace(w, r)
	}
	w.ctx = &requestContext{Context: parent, route: &w.route, clientIP: clientIP(r, s.cfg.TrustedProxies)}
	w.ctx.id[0] = requestID(r.Header)
	if w.span != nil {
		w.ctx.traceID = w.span.TraceID
	} else {
		w.ctx.traceID = traceIDOf(r.Header[headerTraceparent], w.ctx.id[0])
	}
	if s.sessions {
		w.ctx.resumeSession(r)
	}
	w.request = r.WithContext(w.ctx)
	r.Header[headerRequestID] = w.ctx.id[:] // what is behind us, a worker or another service, gets the same id
	w.shard.add(w)
	return w
}

// end runs deferred: it recovers a panic, sends headers that nobody sent, and accounts for the request.
func (w *response) end() {
	panicked := recover()
	abort := false
	if panicked != nil {
		abort = w.recovered(panicked)
	} else if w.status == 0 && w.hijacked == nil {
		w.WriteHeader(http.StatusOK)
	}
	w.account(panicked != nil)
	if w.paced != nil && w.hijacked == nil {
		w.paced.leave()
	}
	s := w.server
	w.shard.remove(w)
	if w.hijacked == nil {
		w.ResponseWriter, w.request, w.ctx, w.paced = nil, nil, nil, nil
		s.responses.Put(w)
	}
	if abort {
		panic(http.ErrAbortHandler) // net/http then closes the connection, so that the client sees a broken answer as one
	}
}

// recovered turns a panic into a 500 where headers have not been sent, and says whether the connection has to go.
func (w *response) recovered(v any) (abort bool) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		if w.status == 0 {
			w.status = http.StatusInternalServerError
		}
		return true
	}
	w.tellPanic(v)
	w.server.log.unreported.ErrorContext(w.ctx, "a handler panicked", "panic", fmt.Sprint(v), "method", w.request.Method, "path", w.request.URL.Path, "stack", string(debug.Stack()))
	if w.hijacked != nil {
		if err := w.hijacked.Close(); err != nil {
			w.server.logger.Debug("close after a panic", "error", err)
		}
		return false
	}
	if w.status != 0 {
		return true
	}
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Etag", "Last-Modified", "Content-Disposition", "Content-Range"} {
		delete(h, name) // they described another body
	}
	writeProblem(w, w.request, http.StatusInternalServerError, "internal error")
	return false
}

// account counts and logs the request.
func (w *response) account(panicked bool) {
	s, took := w.server, time.Since(w.start)
	endpoint := s.endpoint(w)
	s.metrics.observe(endpoint, w.request.Method, w.status, took, w.status == http.StatusSwitchingProtocols)
	s.log.request(&access{
		at: w.start.Add(took), id: w.ctx.id[0], trace: w.ctx.traceID, method: w.request.Method, path: w.request.URL.Path, clientIP: w.ctx.clientIP,
		status: w.status, bytes: w.bytes, duration: took, own: w.own,
	})
	if s.tracer != nil || s.sentry != nil {
		w.tellObservers(endpoint, took, panicked)
	}
}

// endpoint is the pattern of the route that answered.
func (s *Server) endpoint(w *response) string {
	if w.own {
		return w.request.URL.Path
	}
	if w.pattern != "" {
		return w.pattern
	}
	if pattern := w.route.RoutePattern(); pattern != "" {
		return pattern
	}
	if s.fallback != nil {
		return "/*"
	}
	return unmatched
}

// awaitStart holds a request until the components have started. Where they do not, it answers 503 and returns false.
func (s *Server) awaitStart(w *response) bool {
	ctx, cancel := context.WithTimeout(w.request.Context(), maxHold)
	defer cancel()
	select {
	case <-s.startedCh:
		if !s.starting.Load() {
			return true
		}
	case <-ctx.Done():
	}
	w.Header().Set("Retry-After", "1")
	writeProblem(w, w.request, http.StatusServiceUnavailable, s.phase())
	return false
}
