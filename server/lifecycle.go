package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// ErrForced is what [Server.Run] returns when it was told to exit at once: by SIGQUIT, or by a second SIGTERM or SIGINT.
var ErrForced = errors.New("told to exit at once")

// life is one run of a server. Its fields belong to the goroutine of Run, except while a job has them.
type life struct {
	s         *Server
	log       *slog.Logger
	notify    notifier
	signals   chan os.Signal
	errs      chan error // of accepting
	inherited inheritance

	public  *endpoint
	metrics *endpoint // nil where /metrics is on the public one
	admin   *endpoint // nil without an operations API

	components context.Context // of the components, until all have stopped
	endAll     context.CancelCauseFunc
	started    []Component
	admins     context.CancelFunc // ends the requests of the operations API
	job        *job               // a reload or a hand-over under way
}

// Run listens, starts the components and serves until ctx ends or a signal says stop: SIGTERM and SIGINT drain, SIGQUIT
// exits at once, SIGHUP reloads, SIGUSR2 hands the sockets to a new process of the same program. It returns nil after a
// drain, also one that had to cut requests, which the log names. Run may be called once.
func (s *Server) Run(ctx context.Context) (err error) {
	l := &life{s: s, log: s.logger, notify: newNotifier(os.Getenv, os.Getpid()), signals: make(chan os.Signal, 8), errs: make(chan error, 3)}
	signal.Notify(l.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(l.signals)
	brokenPipes := make(chan os.Signal, 1) // nobody reads them: whoever reads our log may go, and writing to it is to fail, not to kill
	signal.Notify(brokenPipes, syscall.SIGPIPE)
	defer signal.Stop(brokenPipes)
	stopFlushing := make(chan struct{})
	var flusher sync.WaitGroup
	flusher.Go(func() { s.log.sink.flushEachInterval(stopFlushing) })
	defer func() {
		close(stopFlushing)
		flusher.Wait()
		err = errors.Join(err, s.log.sink.close())
	}()
	l.components, l.endAll = context.WithCancelCause(context.WithoutCancel(ctx))
	defer l.endAll(nil)

	s.starting.Store(true)
	if err := l.open(ctx); err != nil {
		return l.fail(err)
	}
	forced, err := l.start(ctx)
	if err != nil {
		return l.fail(err)
	}
	if forced != nil {
		return l.stop(*forced)
	}
	return l.serve(ctx)
}

// open gets the listening sockets, inherited or new. At a cold start the public one accepts at once: liveness answers
// while the components start.
func (l *life) open(ctx context.Context) error {
	s := l.s
	var err error
	if l.inherited, err = inherit(); err != nil {
		return err
	}
	sock, err := l.socket(ctx, publicSocket, s.cfg.Listen, listenTCP)
	if err != nil {
		return err
	}
	l.public = s.newEndpoint(sock, s, &s.conns, l.errs)
	if s.tls != nil {
		if err := l.public.secureEndpoint(s.tls); err != nil {
			return err
		}
	}
	if err := s.publishAddr(sock); err != nil {
		return err
	}
	if l.inherited.line == nil {
		if err := l.public.accept(); err != nil {
			return err
		}
	}
	if s.cfg.PrometheusEnabled && s.cfg.PrometheusPort != "" {
		sock, err := l.socket(ctx, metricsSocket, s.cfg.PrometheusPort, listenTCP)
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", s.metrics.handler())
		l.metrics = s.newEndpoint(sock, mux, &connSet{}, l.errs)
	}
	if s.admin != nil {
		sock, err := l.socket(ctx, adminSocket, s.cfg.AdminSocket, listenUnix)
		if err != nil {
			return err
		}
		l.admin = l.newAdmin(sock)
	}
	return l.inherited.dropRest()
}

// socket takes an inherited socket or opens one.
func (l *life) socket(ctx context.Context, name, address string, listen func(context.Context, string, string) (*socket, error)) (*socket, error) {
	sock, err := l.inherited.take(name, address)
	if err != nil || sock != nil {
		return sock, err
	}
	return listen(ctx, name, address)
}

// newAdmin makes the server of the operations API. Its requests end with l.admins.
func (l *life) newAdmin(sock *socket) *endpoint {
	ctx, cancel := context.WithCancel(context.Background())
	l.admins = cancel
	e := l.s.newEndpoint(sock, l.s.admin, &connSet{}, l.errs)
	e.http.ReadTimeout, e.http.WriteTimeout = 0, 0 // it streams events
	e.http.BaseContext = func(net.Listener) context.Context { return ctx }
	e.http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		ctx = WithPeer(ctx, c)
		for _, f := range l.s.adminConn {
			ctx = f(ctx, c)
		}
		return ctx
	}
	return e
}

func (s *Server) publishAddr(sock *socket) error {
	l, err := sock.listener()
	if err != nil {
		return err
	}
	addr := l.Addr()
	s.addr.Store(&addr)
	return l.Close()
}

// start brings the components up, and with them the service. Where it is told to stop meanwhile it returns how.
func (l *life) start(ctx context.Context) (*stopOrder, error) {
	s := l.s
	l.log.Info("listening", "service", s.cfg.Service, "version", s.cfg.Version, "environment", s.cfg.Environment,
		"address", s.Addr().String(), "pid", os.Getpid(), "took_over", l.inherited.line != nil)
	if l.inherited.line != nil {
		if stop := l.askPredecessor(wordRelease, wordReleased); stop != nil {
			return stop, nil
		}
	}
	// A service that does not come up must be operable all the same.
	for _, e := range []*endpoint{l.admin, l.metrics} {
		if e == nil {
			continue
		}
		if err := e.accept(); err != nil {
			return nil, err
		}
	}
	if stop, err := l.startComponents(ctx); stop != nil || err != nil {
		return stop, err
	}
	s.starting.Store(false)
	close(s.startedCh)
	if l.inherited.line != nil {
		if stop, err := l.takeOver(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	l.tell(fmt.Sprintf("MAINPID=%d", os.Getpid()), "READY=1")
	l.log.Info("ready", "components", len(l.started))
	return nil, nil
}

// startComponents starts them in order, in the background so that signals are heard.
func (l *life) startComponents(ctx context.Context) (*stopOrder, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := startHook.inOrder(l.components, l.s.components)
		done <- result{n, err}
	}()
	finish := func(r result) error {
		l.started = l.s.components[:min(r.n+1, len(l.s.components))] // one that failed may hold something too
		return r.err
	}
	interrupt := func(o *stopOrder) (*stopOrder, error) {
		o.reason += " while starting"
		l.endAll(errors.New(o.reason))
		if err := finish(<-done); err != nil {
			l.log.Info("start interrupted", "detail", err.Error()) // no failure: it was asked for
		}
		return o, nil
	}
	for {
		select {
		case r := <-done:
			return nil, finish(r)
		case <-ctx.Done():
			return interrupt(&stopOrder{reason: "context ended"})
		case sig := <-l.signals:
			if order := stopFor(sig); order != nil {
				return interrupt(order)
			}
			l.log.Warn("signal ignored while starting", "signal", sig.String())
		}
	}
}

// fail ends a run that never got ready.
func (l *life) fail(err error) error {
	if l.inherited.line != nil {
		if sayErr := l.inherited.line.say(wordFailed, err.Error()); sayErr != nil {
			l.log.Warn("the running process could not be told", "error", sayErr)
		}
	}
	l.s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), l.s.cfg.ShutdownTimeout)
	defer cancel()
	return errors.Join(err, l.end(ctx, l.inherited.line == nil))
}

// serve waits for whatever ends the run.
func (l *life) serve(ctx context.Context) error {
	var watchdog <-chan time.Time
	if l.notify.watchdog > 0 {
		t := time.NewTicker(l.notify.watchdog)
		defer t.Stop()
		watchdog = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return l.stop(stopOrder{reason: "context ended"})
		case err := <-l.errs:
			return errors.Join(err, l.stop(stopOrder{reason: "listener failed"}))
		case <-watchdog:
			l.tell("WATCHDOG=1")
		case err := <-l.job.done():
			handedOver := l.job.finish(err)
			l.job = nil
			if handedOver {
				return l.stop(stopOrder{reason: "handed over", handedOver: true})
			}
		case sig := <-l.signals:
			if order := stopFor(sig); order != nil {
				return l.stop(*order)
			}
			l.background(sig)
		}
	}
}

// stopFor returns how a signal ends the run, or nil where it does not.
func stopFor(sig os.Signal) *stopOrder {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		return &stopOrder{reason: sig.String()}
	case syscall.SIGQUIT:
		return &stopOrder{reason: sig.String(), force: true}
	}
	return nil
}

// background does what SIGHUP and SIGUSR2 ask for, one thing at a time, while signals are heard.
func (l *life) background(sig os.Signal) {
	if l.job != nil {
		l.log.Warn("signal ignored: busy with "+l.job.name, "signal", sig.String())
		return
	}
	switch sig {
	case syscall.SIGHUP:
		l.job = l.newJob("a reload", l.reload)
	case syscall.SIGUSR2:
		l.job = l.newJob("a hand-over", l.handOver)
		l.job.handsOver = true
	}
}

// tell sends a message to systemd; that it fails is logged, and no more.
func (l *life) tell(lines ...string) {
	if err := l.notify.send(lines...); err != nil {
		l.log.Warn("systemd was not told", "error", err)
	}
}
