package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covetpy/covet/server"
)

// faults makes a release fail in the ways its options ask for.
type faults struct {
	opts     options
	requests atomic.Int64
}

func newFaults(o options) *faults { return &faults{opts: o} }

// register adds the faults that are no request's: readiness, slow stopping, a leak.
func (f *faults) register(srv *server.Server) {
	if f.opts.NotReady {
		srv.Health().Register(server.Check{Name: "shop", Required: true, Run: func(context.Context) error {
			return errors.New("SHOP_NOT_READY is set")
		}})
	}
	if f.opts.SlowShutdown > 0 {
		srv.Component(server.Component{Name: "slow shutdown", Stop: func(ctx context.Context) error {
			return wait(ctx, f.opts.SlowShutdown)
		}})
	}
	if f.opts.LeakMBPerMin > 0 {
		l := &leak{perMinute: f.opts.LeakMBPerMin << 20}
		srv.Component(server.Component{Name: "leak", Start: l.start, Stop: l.stop})
	}
}

// middleware adds latency and errors, and ends the process after so many requests.
func (f *faults) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := f.requests.Add(1); f.opts.CrashAfter > 0 && n > int64(f.opts.CrashAfter) {
			// In a goroutine of its own, where no middleware recovers it.
			go panic(fmt.Sprintf("SHOP_CRASH_AFTER: request %d", n))
			select {}
		}
		if delay := f.delay(); delay > 0 && wait(r.Context(), delay) != nil {
			return // the client has gone
		}
		if f.opts.ErrorRate > 0 && rand.Float64() < f.opts.ErrorRate {
			writeError(w, http.StatusInternalServerError, "SHOP_ERROR_RATE: this request was chosen to fail")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (f *faults) delay() time.Duration {
	d := f.opts.Latency
	if f.opts.LatencyJitter > 0 {
		d += rand.N(f.opts.LatencyJitter)
	}
	return d
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leak holds ever more memory.
type leak struct {
	perMinute int
	held      [][]byte
	done      sync.WaitGroup
	cancel    context.CancelFunc
}

func (l *leak) start(ctx context.Context) error {
	ctx, l.cancel = context.WithCancel(ctx)
	l.done.Go(func() {
		for wait(ctx, time.Second) == nil {
			chunk := make([]byte, l.perMinute/60)
			for i := 0; i < len(chunk); i += 4096 {
				chunk[i] = 1 // a page that was never written takes no memory
			}
			l.held = append(l.held, chunk)
		}
	})
	return nil
}

func (l *leak) stop(context.Context) error {
	l.cancel()
	l.done.Wait()
	return nil
}

// hang listens, takes connections and never says a word, until a signal ends the process.
func hang(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	var held []net.Conn // so that none is closed by the collector
	for {
		c, err := l.Accept()
		if err != nil {
			return fmt.Errorf("hang with %d connections: %w", len(held), err)
		}
		held = append(held, c)
	}
}
