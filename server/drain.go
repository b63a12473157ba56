package server

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"
)

// stopOrder says why and how a run ends.
type stopOrder struct {
	reason     string
	force      bool // no waiting for requests
	handedOver bool // another process serves already
}

// forcedStopTimeout is what components get when there is no time.
const forcedStopTimeout = time.Second

// requestShare is the part of the shutdown time-out that requests may use up; components need the rest.
const requestShare = 0.75

// stop ends the run: unready, a delay for load balancers, no new connections, the open ones finished, components stopped
// in reverse. All of it within the shutdown time-out, and what does not fit is cut and named.
func (l *life) stop(o stopOrder) error {
	s, begun := l.s, time.Now()
	patient := o.handedOver // nobody asked this process to stop: requests may take their time
	if l.job.interrupt(o) {
		o.handedOver = true
	}
	l.job = nil
	l.log.Info("stopping", "reason", o.reason, "requests", s.flight.count(), "connections", s.conns.count())
	s.draining.Store(true)
	if s.starting.Load() {
		close(s.startedCh) // requests that wait for the start are told
	}
	served := l.inherited.line == nil && !s.starting.Load() // else no load balancer and no service manager looks at us yet
	limit := s.cfg.ShutdownTimeout
	requests := time.Duration(float64(limit) * requestShare)
	if patient {
		requests = s.cfg.HandoverDrain
		limit = requests + s.cfg.ShutdownTimeout/4
	} else if !o.handedOver && l.inherited.line == nil {
		l.tell("STOPPING=1")
	}
	hurry, forced := l.watch(patient)
	defer hurry.end()
	if !o.handedOver {
		defer l.keepWatchdog()()
	}
	if !o.force {
		ctx, cancel := context.WithTimeout(hurry.ctx, requests)
		if served && !o.handedOver {
			l.awaitBalancers(ctx)
		}
		l.drain(ctx, o)
		cancel()
	}
	l.cut()
	ctx, cancel := context.WithDeadline(context.Background(), begun.Add(limit))
	defer cancel()
	if o.force || forced() {
		ctx, cancel = context.WithTimeout(ctx, forcedStopTimeout)
		defer cancel()
	}
	err := l.end(ctx, !o.handedOver && l.inherited.line == nil)
	l.log.Info("stopped", "reason", o.reason, "took", time.Since(begun).Round(time.Millisecond))
	if o.force || forced() {
		return errors.Join(ErrForced, err)
	}
	return err
}

// keepWatchdog goes on to tell systemd that the process lives, while it stops. The function it returns ends that.
func (l *life) keepWatchdog() (end func()) {
	if l.notify.watchdog <= 0 {
		return func() {}
	}
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(l.notify.watchdog)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.tell("WATCHDOG=1")
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop) }
}

// awaitBalancers serves on for the drain delay: load balancers look at readiness only now and then.
func (l *life) awaitBalancers(ctx context.Context) {
	select {
	case <-time.After(l.s.cfg.DrainDelay):
	case <-ctx.Done():
	}
}

// drain lets the public listener come to rest.
func (l *life) drain(ctx context.Context, o stopOrder) {
	s := l.s
	s.closing.Store(true)
	l.public.goAway() // while connections are still accepted: requests that this turns away come back on a new one
	l.public.stopAccepting(!o.handedOver)
	if o.handedOver {
		l.leaveSockets(l.public, l.metrics, l.admin)
	} else {
		// New clients are refused from here on, rather than left waiting.
		if err := l.public.closeSocket(); err != nil {
			l.log.Warn("the public socket was not closed in order", "error", err)
		}
	}
	l.public.goAway() // to those that came meanwhile
	hooksCtx, rested := context.WithCancel(ctx)
	defer rested()
	var hooks sync.WaitGroup
	for _, f := range s.drainHooks {
		hooks.Go(func() { f(hooksCtx) })
	}
	l.public.drain(ctx, s.cfg.IdleGrace)
	s.awaitHandlers(ctx)
	rested()
	ended := make(chan struct{})
	go func() { hooks.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// awaitHandlers waits for handlers whose connection has gone before they returned.
func (s *Server) awaitHandlers(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for s.flight.count() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// cut closes what is still open, naming every request that this breaks.
func (l *life) cut() {
	s := l.s
	l.public.stopAccepting(false)
	for _, f := range s.flight.list() {
		l.log.Warn("cut a request", "request_id", f.id, "method", f.method, "path", f.path, "client_ip", f.clientIP,
			"after", time.Since(f.start).Round(time.Millisecond))
	}
	if n := l.public.cut(); n > 0 {
		l.log.Warn("cut connections", "connections", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), forcedStopTimeout/2)
	defer cancel()
	s.awaitHandlers(ctx) // their contexts have ended
}

// end stops the components and closes every socket. last says that no other process serves on them.
func (l *life) end(ctx context.Context, last bool) error {
	var errs []error
	if l.public != nil {
		l.public.stopAccepting(false)
		l.public.cut()
	}
	if l.admin != nil {
		l.quiesceAdmin(ctx)
	}
	errs = append(errs, stopHook.reversed(ctx, l.started))
	l.endAll(nil)
	for _, e := range []*endpoint{l.metrics, l.admin, l.public} {
		if e == nil {
			continue
		}
		e.stopAccepting(false)
		e.cut()
		if e.socket != nil {
			errs = append(errs, e.socket.close(last))
		}
	}
	return errors.Join(errs...)
}

// leaveSockets closes our copies of listening sockets, and with the last copy the socket.
func (l *life) leaveSockets(endpoints ...*endpoint) {
	for _, e := range endpoints {
		if e == nil {
			continue
		}
		e.stopAccepting(false)
		if err := e.socket.close(false); err != nil {
			l.log.Warn("a socket was not closed", "socket", e.socket.name, "error", err)
		}
		e.socket = nil
	}
}

// adminGrace is how long requests of the operations API may take once it stops. Event streams never end by themselves:
// their contexts end halfway, and clients come back with the number of the last event.
const adminGrace = time.Second

// quiesceAdmin takes the operations API out of service.
func (l *life) quiesceAdmin(ctx context.Context) {
	l.admin.stopAccepting(false)
	ctx, cancel := context.WithTimeout(ctx, adminGrace)
	defer cancel()
	half, cancelHalf := context.WithTimeout(ctx, adminGrace/4)
	defer cancelHalf()
	if !l.admin.drain(half, 0) {
		l.admins()
		l.admin.drain(ctx, 0)
	}
	l.admins()
	l.admin.cut()
}

// hurry is a context that ends when a second signal says that there is no time.
type hurry struct {
	ctx context.Context
	end context.CancelFunc
}

// watch listens for signals while stopping. The first SIGTERM to a patient process shortens the wait to the shutdown
// time-out; any other one ends it.
func (l *life) watch(patient bool) (hurry, func() bool) {
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-l.signals:
				if stopFor(sig) == nil {
					continue
				}
				if patient && sig != syscall.SIGQUIT {
					patient = false
					timeout := time.Duration(float64(l.s.cfg.ShutdownTimeout) * requestShare)
					time.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
					continue
				}
				l.log.Warn("not waiting any longer", "signal", sig.String())
				cancel(ErrForced)
				return
			}
		}
	}()
	return hurry{ctx, func() { cancel(nil) }}, func() bool { return errors.Is(context.Cause(ctx), ErrForced) }
}
