package proxy

import (
	"bufio"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts the open connections to a worker.
func counted(open *atomic.Int64, serve func(net.Conn, *bufio.Reader)) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		open.Add(1)
		defer open.Add(-1)
		serve(c, r)
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"in time": {IdleTimeout: 20 * time.Millisecond}, "when too many": {MaxIdle: 1}} {
		f := newFront(t, o)
		var open atomic.Int64
		f.rawWorker(t, "a", "v1", counted(&open, says(ok)))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { f.get(t, "/") })
		}
		wg.Wait()
		left := int64(o.MaxIdle)
		eventually(t, name, func() bool { return open.Load() == left })
		if r := f.get(t, "/"); r.body != "ok" {
			t.Errorf("%s: got %d %q", name, r.StatusCode, r.body)
		}
	}
}

func TestConnectionsThatTheWorkerClosesAreForgotten(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{IdleTimeout: 40 * time.Millisecond})
	f.rawWorker(t, "a", "v1", saysOnce(ok))
	f.get(t, "/")
	p := f.byID["a"].pool
	eventually(t, "the pool is empty", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle) == 0 && len(p.open) == 0 && p.reaper == nil
	})
}

func TestLeaveClosesIdleConnections(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	var open atomic.Int64
	f.rawWorker(t, "a", "v1", counted(&open, says(ok)))
	f.get(t, "/")
	if open.Load() != 1 {
		t.Fatalf("%d connections are kept", open.Load())
	}
	if err := f.Leave(soon(t), "a"); err != nil {
		t.Error(err)
	}
	eventually(t, "the connection is closed", func() bool { return open.Load() == 0 })
}

// TestPostUsesOnlyRecentConnections: a worker may close one that has been idle for longer at any moment.
func TestPostUsesOnlyRecentConnections(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", says(ok))
	f.get(t, "/")
	p := f.byID["a"].pool
	eventually(t, "the connection is idle", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle) == 1
	})
	now := time.Now().Add(2 * reuseWindow)
	if c := p.take(now, true); c != nil {
		t.Error("a connection that was idle for long was taken for a request that must not be sent twice")
	}
	if c := p.take(now, false); c == nil {
		t.Error("it was not taken for any request")
	}
}

func TestNothingIsDialledAfterTheCut(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", says(ok))
	p := f.byID["a"].pool
	p.cut()
	if c, err := p.dial(context.Background()); err == nil || c != nil {
		t.Errorf("dial returned %v, %v", c, err)
	}
}
