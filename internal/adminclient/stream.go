package adminclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

// Lines of a stream that are no items begin like this; see server/admin.
var (
	heartbeatMark = []byte(`{"heartbeat":`)
	errorMark     = []byte(`{"error":`)
)

// Watch implements console.Port. It always ends with an error, unless the caller stops it or ctx is done: a live stream
// that ends is a lost connection. Ten seconds without a word from covetd count as one too.
func (c *Client) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	q := url.Values{"after": {strconv.FormatUint(uint64(after), 10)}}
	return func(yield func(console.Update, error) bool) {
		stopped := false
		for u, err := range stream[console.Update](ctx, c, "watch", q) {
			if stopped = !yield(u, err) || err != nil; stopped {
				return
			}
		}
		if !stopped && ctx.Err() == nil {
			yield(console.Update{}, &console.Error{
				Code:    console.CodeUnreachable,
				Message: "covetd ended the live stream: it is stopping, or this reader was too slow",
				Hint:    "take it up again with `covetctl attach`",
			})
		}
	}
}

// Logs implements console.Port.
func (c *Client) Logs(ctx context.Context, q console.LogQuery) iter.Seq2[console.LogLine, error] {
	return stream[console.LogLine](ctx, c, "logs", EncodeLogQuery(q))
}

// errSilent is the cause of a stream's end when nothing came over it for too long.
var errSilent = errors.New("no word from covetd")

// stream yields the items of one of covetd's streams. It ends quietly when the stream ended well or ctx is done.
func stream[T any](ctx context.Context, c *Client, name string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		within, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		err := follow(within, c, name, q, func() { stop(errSilent) }, func(v T) bool { return yield(v, nil) })
		if err == nil || ctx.Err() != nil {
			return
		}
		var none T
		yield(none, c.streamError(within, name, err))
	}
}

// follow hands over the items of a stream until it ends or give refuses one. It calls silent when covetd says nothing for
// too long; the time that give takes does not count.
func follow[T any](ctx context.Context, c *Client, name string, q url.Values, silent func(), give func(T) bool) error {
	timer := time.AfterFunc(c.silence, silent)
	defer timer.Stop()
	body, err := c.open(ctx, name, q)
	if err != nil {
		return err
	}
	defer closeQuietly(body)
	for line, err := range lines(&timedReader{body, timer, c.silence}) {
		if err != nil {
			return err
		}
		v, err := decode[T](name, line)
		if err != nil {
			return err
		}
		if !give(v) {
			return nil
		}
	}
	return nil
}

// timedReader lets a timer run only while it waits for bytes.
type timedReader struct {
	r     io.Reader
	timer *time.Timer
	limit time.Duration
}

// Read implements io.Reader.
func (t *timedReader) Read(p []byte) (int, error) {
	t.timer.Reset(t.limit)
	defer t.timer.Stop()
	return t.r.Read(p)
}

// closeQuietly ends a stream that has been read as far as it matters: how its connection ends matters to nobody.
func closeQuietly(body io.Closer) { _ = body.Close() }

// open begins a stream and returns its body.
func (c *Client) open(ctx context.Context, name string, q url.Values) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, name, q, nil)
	if err != nil {
		return nil, err
	}
	doing := "opening the stream of " + name
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(req, doing, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	closeQuietly(resp.Body)
	if err != nil {
		return nil, c.unreachable(req, doing, err)
	}
	return nil, refusal(doing, resp.Status, raw)
}

// lines yields a stream's lines without the heartbeats.
func lines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sc := bufio.NewScanner(r)
		sc.Buffer(make([]byte, 0, 64<<10), maxLine)
		for sc.Scan() {
			line := bytes.TrimSpace(sc.Bytes())
			if len(line) == 0 || bytes.HasPrefix(line, heartbeatMark) {
				continue
			}
			if !yield(line, nil) {
				return
			}
		}
		if err := sc.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// decode reads one line: an item, or the error that ends the stream.
func decode[T any](name string, line []byte) (T, error) {
	var v T
	if bytes.HasPrefix(line, errorMark) {
		var last struct{ Error console.Error }
		if err := json.Unmarshal(line, &last); err != nil {
			return v, foreign("reading the stream of "+name, err)
		}
		return v, &last.Error
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return v, foreign("reading the stream of "+name, err)
	}
	return v, nil
}

// streamError makes what ended a stream a *console.Error.
func (c *Client) streamError(ctx context.Context, name string, err error) error {
	var told *console.Error
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return &console.Error{
			Code:    console.CodeUnreachable,
			Message: fmt.Sprintf("covetd has been silent for %s on %s", c.silence, c.socket),
			Hint:    "it may be stopped or overloaded: see `covetctl status`, and covetd's own log",
		}
	case errors.As(err, &told):
		return told
	case errors.Is(err, bufio.ErrTooLong):
		return foreign("reading the stream of "+name, err)
	}
	return c.lost("reading the stream of "+name, err)
}
