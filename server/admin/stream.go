package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"runtime/debug"
	"time"
)

// queued is how many lines may wait between the backend and the connection, so that a burst is flushed once.
const queued = 64

// item is what came off the backend's stream.
type item struct {
	value any
	err   error
}

// stream writes items as lines until they end, the peer goes, or the peer does not take a line within the write timeout.
// It returns only after the backend's iterator has.
func (h *handler) stream(ctx context.Context, cancel func(), w http.ResponseWriter, r *http.Request, items iter.Seq2[any, error]) {
	queue := make(chan item, queued)
	go func() {
		defer close(queue)
		defer h.recoveredStream(ctx, r, queue)
		pump(ctx, items, queue)
	}()
	l := &lines{w: w, control: http.NewResponseController(w), timeout: h.times.write}
	err := h.copyLines(ctx, l, r, queue)
	cancel()
	for range queue { // the iterator sees that ctx is done and returns
	}
	if err != nil {
		if r.Context().Err() == nil { // else the peer just left, as it may
			h.log.InfoContext(r.Context(), "operations API: cut a stream", "path", r.URL.Path, "reason", err)
		}
		panic(http.ErrAbortHandler) // cut short, so that nobody takes it for complete
	}
}

// pump moves items into the queue until they end or ctx does.
func pump(ctx context.Context, items iter.Seq2[any, error], queue chan<- item) {
	for v, err := range items {
		select {
		case queue <- item{v, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// recoveredStream keeps a crash in the backend's iterator from taking covetd with it.
func (h *handler) recoveredStream(ctx context.Context, r *http.Request, queue chan<- item) {
	v := recover()
	if v == nil {
		return
	}
	h.log.ErrorContext(r.Context(), "operations API: a stream crashed", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	select {
	case queue <- item{err: crashed()}:
	case <-ctx.Done():
	}
}

// copyLines writes what comes off the queue, and heartbeats in between. The first heartbeat comes soon, so that a peer
// knows it is heard. An error means that the stream did not come to its end.
func (h *handler) copyLines(ctx context.Context, l *lines, r *http.Request, queue <-chan item) error {
	beat := time.NewTimer(h.times.opening)
	defer beat.Stop()
	for {
		select {
		case it, more := <-queue:
			if !more {
				l.begin()
				return ctx.Err()
			}
			raw, err := it.encode()
			if err != nil {
				return h.endWith(l, r, err)
			}
			if err := l.write(raw, len(queue) == 0); err != nil {
				return err
			}
		case now := <-beat.C:
			if err := l.write(heartbeatLine(now), true); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		beat.Reset(h.times.heartbeat)
	}
}

// endWith tells why the stream ends: with a status of its own where nothing has been written yet, else in the last line.
func (h *handler) endWith(l *lines, r *http.Request, err error) error {
	if !l.begun {
		h.fail(l.w, r, err)
		return nil
	}
	raw, err := json.Marshal(struct {
		Error Coded `json:"error"`
	}{tell(err)})
	if err != nil {
		return fmt.Errorf("write the stream's error as JSON: %w", err)
	}
	return l.write(raw, true)
}

func (i item) encode() ([]byte, error) {
	if i.err != nil {
		return nil, i.err
	}
	raw, err := json.Marshal(i.value)
	if err != nil {
		return nil, fmt.Errorf("write %T as JSON: %w", i.value, err)
	}
	return raw, nil
}

func heartbeatLine(now time.Time) []byte {
	return fmt.Appendf(nil, `{"heartbeat":%q}`, now.UTC().Format(time.RFC3339Nano))
}

// lines writes newline-delimited JSON to a connection, each line within a deadline.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	begun   bool
}

// begin sends the stream's header, once.
func (l *lines) begin() {
	if l.begun {
		return
	}
	l.begun = true
	l.w.Header().Set("Content-Type", "application/x-ndjson")
	l.w.Header().Set("Cache-Control", "no-store")
	l.w.Header().Set("X-Content-Type-Options", "nosniff")
	l.w.WriteHeader(http.StatusOK)
}

// write sends one line. Without flush it may wait for the next one.
func (l *lines) write(raw []byte, flush bool) error {
	l.begin()
	if err := deadline(l.control.SetWriteDeadline, time.Now().Add(l.timeout)); err != nil {
		return err
	}
	if _, err := l.w.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("the peer does not take its stream: %w", err)
	}
	if !flush {
		return nil
	}
	if err := l.control.Flush(); err != nil {
		return fmt.Errorf("the peer does not take its stream: %w", err)
	}
	return nil
}
