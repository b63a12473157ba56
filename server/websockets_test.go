package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/ws"
)

// serveSockets is a server with an echo and a feed.
func serveSockets(t *testing.T, c config.WebSocketConfig) *served {
	t.Helper()
	return serveStack(t, config.Config{WebSockets: c, Security: config.SecurityConfig{CORSOrigins: []string{"https://shop.example"}}}, func(s *Server) {
		s.Router().Handle("/ws/echo", s.WebSockets().Handle(func(ctx context.Context, c *ws.Conn) error {
			for {
				kind, text, err := c.Read(ctx)
				if err == nil {
					err = c.Write(ctx, kind, text)
				}
				if err != nil {
					return err
				}
			}
		}))
		s.Router().Handle("/ws/feed", s.WebSockets().Feed(func(ctx context.Context, c *ws.Conn) error {
			if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}))
		s.Router().Handle("/ws/broken", s.WebSockets().Handle(func(context.Context, *ws.Conn) error { return errors.New("no luck") }))
	})
}

func dialSocket(t *testing.T, s *served, path string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, strings.Replace(s.url, "http", "ws", 1)+path, &websocket.DialOptions{HTTPHeader: header})
	if c != nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, resp, err
}

func (s *served) awaitSockets(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.WebSockets().Count() != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d WebSockets open, want %d", s.WebSockets().Count(), n)
		}
	}
}

func TestWebSocketsArePingedAndSilentOnesClosed(t *testing.T) {
	t.Parallel()
	s := serveSockets(t, config.WebSocketConfig{PingInterval: 50 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
	pings := make(chan struct{}, 100)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	live, _, err := websocket.Dial(ctx, strings.Replace(s.url, "http", "ws", 1)+"/ws/feed", &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case pings <- struct{}{}:
			default:
			}
			return true
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.CloseNow() }()
	if _, text, err := live.Read(ctx); err != nil || string(text) != "hello" {
		t.Fatalf("%q, %v", text, err)
	}
	live.CloseRead(ctx)
	// The silent one: it opens a WebSocket and then does nothing at all.
	silent, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if _, err := io.WriteString(silent, "GET /ws/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := silent.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, silent); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("the silent one was not closed: %v", err)
	}
	for range 5 {
		select {
		case <-pings:
		case <-ctx.Done():
			t.Fatal("no pings")
		}
	}
	s.awaitSockets(t, 1)
	if got := metric(t, s.Server, "covetpy_websocket_closed_total", "silent"); got != 1 {
		t.Errorf("%v counted as silent", got)
	}
}

func TestWebSocketOriginsAndLimits(t *testing.T) {
	t.Parallel()
	s := serveSockets(t, config.WebSocketConfig{PerAddress: 3})
	host := strings.TrimPrefix(s.url, "http://")
	for origin, want := range map[string]int{
		"http://" + host: 101, "https://shop.example": 101, "https://evil.example": 403, "null": 403, "https://shop.example.evil.example": 403,
		"https://sub.shop.example": 403, "http://shop.example": 403, "http://" + host + ".evil.example": 403, "file://" + host: 403,
	} {
		c, resp, _ := dialSocket(t, s, "/ws/echo", http.Header{"Origin": {origin}})
		if resp == nil || resp.StatusCode != want {
			t.Errorf("origin %s: %v, want %d", origin, resp, want)
		}
		if c != nil {
			_ = c.CloseNow()
		}
	}
	s.awaitSockets(t, 0)
	for i := range 4 {
		_, resp, err := dialSocket(t, s, "/ws/echo", nil)
		if want := i == 3; (err != nil) != want || (want && (resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "")) {
			t.Errorf("number %d: %v", i+1, err)
		}
	}
}

func TestWebSocketsAreToldWhenTheServiceGoes(t *testing.T) {
	t.Parallel()
	s := serveSockets(t, config.WebSocketConfig{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var open []*websocket.Conn
	for _, path := range []string{"/ws/echo", "/ws/feed"} {
		c, _, err := dialSocket(t, s, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if err := open[0].Write(ctx, websocket.MessageText, []byte("there?")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := open[0].Read(ctx); err != nil || string(text) != "there?" {
		t.Fatalf("%q, %v", text, err)
	}
	done := make(chan struct{})
	go func() { s.WebSockets().GoAway(ctx); close(done) }()
	for _, c := range open {
		var err error
		for err == nil {
			_, _, err = c.Read(ctx)
		}
		if websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("closed with %v", err)
		}
	}
	<-done
	s.awaitSockets(t, 0)
	if _, resp, err := dialSocket(t, s, "/ws/echo", nil); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("another one was opened: %v", resp)
	}
}

// A handler that ends by itself when the service stops races with the registry, and must not take the close frame along.
func TestWebSocketsWhoseHandlersEndWithTheServiceAreTold(t *testing.T) {
	t.Parallel()
	closing := make(chan struct{})
	s := serveStack(t, config.Config{}, func(s *Server) {
		s.Router().Handle("/ws/feed", s.WebSockets().Feed(func(ctx context.Context, c *ws.Conn) error {
			select {
			case <-closing:
			case <-ctx.Done():
			}
			return nil
		}))
		s.OnDrain(func(context.Context) { close(closing) })
	})
	var open []*websocket.Conn
	for range 60 {
		c, _, err := dialSocket(t, s, "/ws/feed", nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.draining.Store(true)
	for _, hook := range s.drainHooks {
		go hook(ctx)
	}
	for _, c := range open {
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("closed with %v", err)
		}
	}
	s.awaitSockets(t, 0)
}

func TestWebSocketHandlerThatFails(t *testing.T) {
	t.Parallel()
	s := serveSockets(t, config.WebSocketConfig{})
	c, _, err := dialSocket(t, s, "/ws/broken", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusInternalError || strings.Contains(err.Error(), "luck") {
		t.Errorf("closed with %v", err)
	}
	s.awaitSockets(t, 0)
}

// metric is the value of a counter or gauge whose first label has that value.
func metric(t *testing.T, s *Server, name, label string) float64 {
	t.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}
