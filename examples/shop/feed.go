package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/covetpy/covet/server/ws"
)

// tick is how often a feed says something even when nothing is sold.
const tick = time.Second

// feed tells whoever listens what is sold, as server-sent events and over WebSockets.
type feed struct {
	mu        sync.Mutex
	listeners map[chan string]struct{}
	closing   chan struct{}
	closeOnce sync.Once
}

func newFeed() *feed {
	return &feed{listeners: map[chan string]struct{}{}, closing: make(chan struct{})}
}

// publish sends an event to all listeners; one that is too slow misses it.
func (f *feed) publish(event string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.listeners {
		select {
		case c <- event:
		default:
		}
	}
}

func (f *feed) listen() (events <-chan string, leave func()) {
	c := make(chan string, 16)
	f.mu.Lock()
	f.listeners[c] = struct{}{}
	f.mu.Unlock()
	return c, func() {
		f.mu.Lock()
		delete(f.listeners, c)
		f.mu.Unlock()
	}
}

// close ends all feeds, because the process stops.
func (f *feed) close(context.Context) { f.closeOnce.Do(func() { close(f.closing) }) }

// each calls send for every event and tick until the client or the process goes.
func (f *feed) each(ctx context.Context, send func(text string) error) {
	events, leave := f.listen()
	defer leave()
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		var text string
		select {
		case text = <-events:
		case at := <-t.C:
			text = "open at " + at.UTC().Format(time.TimeOnly)
		case <-f.closing:
			return
		case <-ctx.Done():
			return
		}
		if send(text) != nil {
			return
		}
	}
}

func (f *feed) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	f.each(r.Context(), func(text string) error {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
			return err
		}
		return out.Flush()
	})
}

// socket sends the feed over a WebSocket of the runtime's, which closes it with 1001 when the process stops.
func (f *feed) socket(ctx context.Context, c *ws.Conn) error {
	f.each(ctx, func(text string) error { return c.Write(ctx, websocket.MessageText, []byte(text)) })
	return nil
}
