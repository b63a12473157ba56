package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// backlogGrace is how long a listener goes on accepting once it is to close: what waits in the kernel's backlog would be
// reset with it.
const backlogGrace = 20 * time.Millisecond

// endpoint is a listening socket and the HTTP server on it. Accepting can begin, end and begin again.
type endpoint struct {
	socket *socket
	http   *http.Server
	conns  *connSet
	errs   chan<- error // of accepting, unless it was ended on purpose
	open   *listener    // nil while not accepting
	done   chan struct{}

	secure    bool   // it speaks TLS
	sayGoAway func() // on HTTP/2 connections; nil without TLS
}

// listener counts the connections it accepts among its endpoint's.
type listener struct {
	net.Listener
	conns    *connSet
	stopping atomic.Bool
}

// Accept waits for a connection. Once the listener is stopping its errors mean the end.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		if l.stopping.Load() {
			return nil, net.ErrClosed
		}
		return nil, err
	}
	return l.conns.add(c), nil
}

// newEndpoint makes a server for h with the limits of the configuration.
func (s *Server) newEndpoint(sock *socket, h http.Handler, conns *connSet, errs chan<- error) *endpoint {
	return &endpoint{
		socket: sock, conns: conns, errs: errs,
		http: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
			ReadTimeout:       s.cfg.ReadTimeout,
			WriteTimeout:      s.cfg.WriteTimeout,
			IdleTimeout:       s.cfg.IdleTimeout,
			MaxHeaderBytes:    int(s.cfg.MaxHeaderBytes),
			ConnState:         track,
			ErrorLog:          log.New(httpErrors{s.log.logger("http")}, "", 0),
		},
	}
}

// accept begins to accept connections.
func (e *endpoint) accept() error {
	if e.open != nil {
		return nil
	}
	l, err := e.socket.listener()
	if err != nil {
		return err
	}
	open := &listener{Listener: l, conns: e.conns}
	done := make(chan struct{})
	e.open, e.done = open, done
	go func() {
		defer close(done)
		if err := e.serve(open); err != nil && !open.stopping.Load() && !errors.Is(err, http.ErrServerClosed) {
			e.errs <- fmt.Errorf("accept on the %s socket: %w", e.socket.name, err)
		}
	}()
	return nil
}

// stopAccepting ends accepting and leaves the open connections alone. last says that no other process accepts on this
// socket, so that what is in the backlog has to be taken.
func (e *endpoint) stopAccepting(last bool) {
	if e.open == nil {
		return
	}
	e.open.stopping.Store(true)
	if d, ok := e.open.Listener.(interface{ SetDeadline(time.Time) error }); ok && last {
		if err := d.SetDeadline(time.Now().Add(backlogGrace)); err == nil {
			<-e.done
		}
	}
	// Closing a listener fails only if it is closed already: there is nothing to do about it.
	_ = e.open.Close()
	<-e.done
	e.open = nil
}

// sweepInterval is how often a draining endpoint looks at its connections.
const sweepInterval = 20 * time.Millisecond

// drain waits until every connection has gone: idle ones after the grace, the others when their requests have been
// answered or their handlers have let them go. It returns false where ctx ends first.
func (e *endpoint) drain(ctx context.Context, grace time.Duration) bool {
	r := reaper{set: e.conns, grace: grace}
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for r.sweep(time.Now()) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// cut closes every connection, whatever it carries, and returns how many there were.
func (e *endpoint) cut() int {
	open := e.conns.in(http.StateNew, http.StateActive, http.StateIdle, http.StateHijacked)
	// Both may fail for connections that the client closes at the same moment.
	_ = e.http.Close()
	for _, c := range open {
		_ = c.Close()
	}
	return len(open)
}
