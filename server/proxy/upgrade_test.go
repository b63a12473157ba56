package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// echo is a worker that sends every message back.
func echo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(-1)
		for {
			kind, msg, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if err := c.Write(context.Background(), kind, msg); err != nil {
				return
			}
		}
	}
}

func (f *front) dial(t *testing.T, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.Dial(soon(t), f.url, o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() })
	if v := resp.Header.Get("X-Covet-Release"); v != "v1" {
		t.Errorf("X-Covet-Release is %q", v)
	}
	return c
}

func exchangeMessage(t *testing.T, c *websocket.Conn, msg []byte) {
	t.Helper()
	if err := c.Write(soon(t), websocket.MessageBinary, msg); err != nil {
		t.Fatal(err)
	}
	_, got, err := c.Read(soon(t))
	if err != nil || !bytes.Equal(got, msg) {
		t.Fatalf("%d bytes came back as %d: %v", len(msg), len(got), err)
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		f := newFront(t, Options{})
		f.worker(t, "a", "v1", echo(t))
		c := f.dial(t, &websocket.DialOptions{CompressionMode: mode})
		for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, 1_000_000} {
			exchangeMessage(t, c, random(size))
		}
		if s := f.instance(t, "a"); s.WebSockets != 1 || s.InFlight != 0 || s.Status[1] != 1 || s.BytesIn == 0 || s.BytesOut == 0 {
			t.Errorf("while open: %d WebSockets, %d in flight, status %v, %d and %d bytes", s.WebSockets, s.InFlight, s.Status, s.BytesIn, s.BytesOut)
		}
		if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("close: %v", err)
		}
		eventually(t, "it is counted out", func() bool { return f.instance(t, "a").WebSockets == 0 })
	}
}

func TestWebSocketOutlivesOtherTimeouts(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{ResponseHeaderTimeout: 400 * time.Millisecond})
	f.worker(t, "a", "v1", echo(t))
	c := f.dial(t, nil)
	time.Sleep(600 * time.Millisecond)
	exchangeMessage(t, c, []byte("still there"))
}

func TestWebSocketOfAWorkerThatDies(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	srv := f.worker(t, "a", "v1", echo(t))
	c := f.dial(t, nil)
	exchangeMessage(t, c, []byte("x"))
	f.byID["a"].tunnels.cut()
	srv.CloseClientConnections()
	if _, _, err := c.Read(soon(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the client was not told: %v", err)
	}
	eventually(t, "it is counted out", func() bool { return f.instance(t, "a").WebSockets == 0 })
}

func TestLeaveLetsWebSocketsEndByThemselves(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{UpgradeDrain: quickly})
	f.worker(t, "a", "v1", echo(t))
	c := f.dial(t, nil)
	left := make(chan error, 1)
	go func() { left <- f.Leave(soon(t), "a") }()
	eventually(t, "the instance is leaving", func() bool { return !f.instance(t, "a").Ready })
	exchangeMessage(t, c, []byte("still served"))
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func TestLeaveClosesWebSocketsWith1001(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{UpgradeDrain: 10 * time.Millisecond})
	status := make(chan websocket.StatusCode, 1)
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_, _, err = c.Read(context.Background())
		status <- websocket.CloseStatus(err)
	})
	c := f.dial(t, nil)
	read := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		read <- err
	}()
	if err := f.Leave(soon(t), "a"); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if err := <-read; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client got %v", err)
	}
	if s := <-status; s != websocket.StatusGoingAway {
		t.Errorf("the worker got %v", s)
	}
}

// TestLeaveSaysGoodbyeBeforeItsDeadline has more time for WebSockets than Leave has.
func TestLeaveSaysGoodbyeBeforeItsDeadline(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{UpgradeDrain: time.Hour})
	f.worker(t, "a", "v1", echo(t))
	c := f.dial(t, nil)
	read := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		read <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), closeGrace)
	defer cancel()
	if err := f.Leave(ctx, "a"); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if err := <-read; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client got %v", err)
	}
}

// TestCloseFrameWaitsForTheFrameInPassing has half a frame under way when the drain's time is over.
func TestCloseFrameWaitsForTheFrameInPassing(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{UpgradeDrain: 10 * time.Millisecond})
	half := make(chan struct{})
	f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x82\x06abc")
		<-half
		_, _ = io.WriteString(c, "def\x82\x01x")
		_, _ = io.Copy(io.Discard, r)
	})
	c, r := f.raw(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- f.Leave(soon(t), "a") }()
	in := f.byID["a"]
	eventually(t, "the close frame is due", func() bool {
		in.tunnels.mu.Lock()
		defer in.tunnels.mu.Unlock()
		for tn := range in.tunnels.open {
			tn.toClient.mu.Lock()
			defer tn.toClient.mu.Unlock()
			return tn.toClient.going
		}
		return false
	})
	close(half)
	want := "\x82\x06abcdef" + string(goingAway(false))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("the client got %q, %v, want %q", got, err, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func TestLeaveCountsTunnelsThatItCuts(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{UpgradeDrain: time.Millisecond})
	f.rawWorker(t, "b", "v1", func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x-tunnel\r\n\r\nhi")
			_, _ = io.Copy(c, r)
		}
	})
	c, r := f.raw(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x-tunnel\r\n\r\n")
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	err := f.Leave(soon(t), "b")
	var cut *CutError
	if !errors.As(err, &cut) || cut.Upgraded != 1 || cut.Requests != 0 {
		t.Errorf("Leave: %v", err)
	}
	_ = c.Close()
}

func TestTunnelPassesAnythingAndHalfCloses(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x-tunnel/1\r\nX-A: b\r\n\r\nearly")
		all, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		_, _ = c.Write(bytes.ToUpper(all))
	})
	c, r := f.raw(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x-tunnel/1\r\n\r\nsent at once, ")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "x-tunnel/1" || resp.Header.Get("X-A") != "b" {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := io.WriteString(c, strings.Repeat("and later", 10_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if want := "earlySENT AT ONCE, " + strings.Repeat("AND LATER", 10_000); err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

func TestUpgradeThatIsRefusedIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", named("no"))
	if r := f.get(t, "/", "Connection", "Upgrade", "Upgrade", "websocket"); r.StatusCode != http.StatusOK || r.body != "no" {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
}

func TestSwitchToAnotherProtocolThanAskedFor(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.rawWorker(t, "a", "v1", says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"))
	if r := f.get(t, "/", "Connection", "Upgrade", "Upgrade", "websocket"); r.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d %q", r.StatusCode, r.body)
	}
}

func TestNoWebSocketIsResetThroughManyDrains(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{UpgradeDrain: time.Millisecond})
	f.worker(t, "a", "v1", echo(t))
	for range 5 {
		var wg sync.WaitGroup
		var up sync.WaitGroup
		for range 6 {
			c := f.dial(t, nil)
			up.Add(1)
			wg.Go(func() {
				for n := 0; ; n++ {
					err := c.Write(soon(t), websocket.MessageText, []byte("hello"))
					if err == nil {
						_, _, err = c.Read(soon(t))
					}
					if n == 0 {
						up.Done()
					}
					if err == nil {
						continue
					}
					if websocket.CloseStatus(err) != websocket.StatusGoingAway {
						// A write may fail first; the reason is then with the reader.
						if _, _, err = c.Read(soon(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
							t.Errorf("message %d: %v", n, err)
						}
					}
					return
				}
			})
		}
		up.Wait()
		f.worker(t, "b", "v1", echo(t))
		if err := f.Leave(soon(t), "a"); err != nil {
			t.Error(err)
		}
		wg.Wait()
		f.worker(t, "a", "v1", echo(t))
		if err := f.Leave(soon(t), "b"); err != nil {
			t.Error(err)
		}
	}
}
