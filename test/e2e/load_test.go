package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// load is a crowd of clients that notices everything: it retries nothing, and a connection that the server closed without
// having said so is a failure.
type load struct {
	t    *testing.T
	url  string
	addr string
	bad  map[string]bool // releases whose own 5xx are no failures

	requests, byBad, sockets, goneAway, downloads, streams atomic.Int64

	mu       sync.Mutex
	failures map[string]int
	lastBad  time.Time // when a bad release last answered
	answered map[string]int

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// connections is how many keep-alive connections the requests come over.
const connections = 16

// crowd starts a load of requests alone: bursts of five on every connection.
func (p *place) crowd(bad ...string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: p.t, url: p.url, addr: p.addr, bad: map[string]bool{}, failures: map[string]int{}, answered: map[string]int{}, cancel: cancel}
	for _, b := range bad {
		l.bad[b] = true
	}
	for i := range connections {
		l.done.Go(func() { l.visitor(ctx, i) })
	}
	p.t.Cleanup(func() { l.cancel(); l.done.Wait() })
	return l
}

// longOnes adds WebSockets, slow downloads and event streams, opened again whenever they end.
func (l *load) longOnes() {
	ctx, cancel := context.WithCancel(context.Background())
	old := l.cancel
	l.cancel = func() { old(); cancel() }
	for range 4 {
		l.done.Go(func() { l.again(ctx, &l.sockets, l.socket) })
	}
	for range 2 {
		l.done.Go(func() { l.again(ctx, &l.downloads, l.download) })
		l.done.Go(func() { l.again(ctx, &l.streams, l.stream) })
	}
}

func (l *load) again(ctx context.Context, count *atomic.Int64, f func(context.Context) error) {
	for ctx.Err() == nil {
		err := f(ctx)
		if ctx.Err() != nil {
			return
		}
		count.Add(1)
		if err != nil {
			l.fail(err.Error())
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// stop ends the load, and fails the test when anything failed.
func (l *load) stop() {
	l.t.Helper()
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, why := range slices.Sorted(maps.Keys(l.failures)) {
		l.t.Errorf("%d times: %s", l.failures[why], why)
	}
	l.t.Logf("load: %d requests, %d answered 5xx by a bad release, %d WebSockets (%d closed with 1001), %d downloads, %d event streams, %v",
		l.requests.Load(), l.byBad.Load(), l.sockets.Load(), l.goneAway.Load(), l.downloads.Load(), l.streams.Load(), l.answered)
}

func (l *load) fail(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures[time.Now().Format("15:04:05 ")+strings.ReplaceAll(why, l.addr, "covetd")]++
}

// lastServedBy is when a bad release last answered a request.
func (l *load) lastServedBy() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastBad
}

// visitor sends bursts of five requests over one connection, a burst every half a second: 160 requests a second in all.
func (l *load) visitor(ctx context.Context, i int) {
	c := &wire{addr: l.addr}
	defer c.close()
	time.Sleep(time.Duration(i) * 500 * time.Millisecond / connections)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for n := i; ; n++ {
		for range 5 {
			l.visit(c, n)
			n++
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *load) visit(c *wire, n int) {
	method, path, body := http.MethodGet, []string{"/", "/api/products", "/api/products/teapot"}[n%3], ""
	if n%4 == 0 {
		method, path, body = http.MethodPost, "/api/cart", `{"product":"oolong","quantity":1}`
	}
	l.requests.Add(1)
	resp, err := c.do(method, path, body)
	if err != nil {
		l.fail(fmt.Sprintf("%s %s: %v", method, path, err))
		return
	}
	release := resp.Header.Get("X-Covet-Release")
	l.mu.Lock()
	l.answered[release]++
	if l.bad[release] {
		l.lastBad = time.Now()
	}
	l.mu.Unlock()
	if !l.badOnes(resp) && resp.StatusCode/100 != 2 {
		l.fail(fmt.Sprintf("%s %s: %s by %q", method, path, resp.Status, release))
	}
}

// badOnes reports whether a bad release has answered with its own error, and counts it.
func (l *load) badOnes(resp *http.Response) bool {
	release := resp.Header.Get("X-Covet-Release")
	if resp.StatusCode/100 != 5 || !l.bad[release] || resp.Header.Get("X-Shop-Version") != release {
		return false
	}
	l.byBad.Add(1)
	return true
}

// wire is one keep-alive connection of a client that trusts the server to say when it closes it.
type wire struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

func (c *wire) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is under way
		c.conn = nil
	}
}

// do makes one request, on a new connection if there is none, and reads the whole answer.
func (c *wire) do(method, path, body string) (*http.Response, error) {
	fresh := c.conn == nil
	if fresh {
		conn, err := net.DialTimeout("tcp", c.addr, 10*time.Second)
		if err != nil {
			return nil, err
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	resp, err := c.exchange(method, path, body)
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%w (new connection: %v)", err, fresh)
	}
	if resp.Close {
		c.close()
	}
	return resp, nil
}

func (c *wire) exchange(method, path, body string) (*http.Response, error) {
	if err := c.conn.SetDeadline(time.Now().Add(40 * time.Second)); err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, "http://"+c.addr+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := req.Write(c.conn); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	resp, err := http.ReadResponse(c.r, req)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, fmt.Errorf("read the answer's body: %w", err)
	}
	return resp, nil
}

// socket listens to the feed over a WebSocket until it is closed, which only 1001 may do.
func (l *load) socket(ctx context.Context) error {
	c, resp, err := websocket.Dial(ctx, strings.Replace(l.url, "http", "ws", 1)+"/feed/ws", nil)
	if err != nil && resp != nil && l.badOnes(resp) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("WebSocket: %w", err)
	}
	defer c.CloseNow()
	for {
		_, _, err := c.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusGoingAway {
			l.goneAway.Add(1)
			return nil
		}
		if err != nil {
			return fmt.Errorf("WebSocket: %w", err)
		}
	}
}

const (
	downloadMB   = 1
	downloadRate = "300KiB"
)

// download takes some seconds, and must be whole.
func (l *load) download(ctx context.Context) error {
	return l.read(ctx, fmt.Sprintf("/export?mb=%d&rate=%s", downloadMB, downloadRate), func(body io.Reader) error {
		n, err := io.Copy(io.Discard, body)
		if err != nil || n != downloadMB<<20 {
			return fmt.Errorf("download broke off at %d bytes: %w", n, errors.Join(err))
		}
		return nil
	})
}

// stream listens to server-sent events until the server ends the answer, which it must do properly.
func (l *load) stream(ctx context.Context) error {
	return l.read(ctx, "/feed", func(body io.Reader) error {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return fmt.Errorf("event stream broke off: %w", err)
		}
		return nil
	})
}

func (l *load) read(ctx context.Context, path string, take func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, nil)
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if l.badOnes(resp) {
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return take(resp.Body)
}
