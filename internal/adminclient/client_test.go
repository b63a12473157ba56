package adminclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/admin"
)

// backend answers over the real operations API from what the test writes down.
type backend struct {
	ask   func(op string, q url.Values) (any, error)
	do    func(ctx context.Context, op string, body json.RawMessage) (any, error)
	watch func(ctx context.Context, after uint64) iter.Seq2[any, error]
	logs  func(q url.Values) iter.Seq2[any, error]
}

func (b backend) Ask(_ context.Context, _ admin.Identity, op string, q url.Values) (any, error) {
	return b.ask(op, q)
}

func (b backend) Do(ctx context.Context, _ admin.Identity, op string, body json.RawMessage) (any, error) {
	return b.do(ctx, op, body)
}

func (b backend) Watch(ctx context.Context, _ admin.Identity, after uint64) iter.Seq2[any, error] {
	return b.watch(ctx, after)
}

func (b backend) Logs(_ context.Context, _ admin.Identity, q url.Values) iter.Seq2[any, error] {
	return b.logs(q)
}

// coded tells a console.Error with a status.
type coded struct {
	*consoleError
	status int
}

type consoleError = console.Error // embedded under its own name, Error would hide the method

func (c coded) HTTPStatus() int { return c.status }

// socketPath is short: a unix socket's path may have 107 bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "adminclient")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "s.sock")
}

// serve runs the operations API on the socket until the returned function or the test's end.
func serve(t *testing.T, socket string, b backend) (stop func()) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	peers := admin.NewPeers()
	srv := &http.Server{Handler: admin.New(b, peers.Identify, slog.New(slog.DiscardHandler)), ConnContext: server.WithPeer}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// stub accepts connections on a socket, and hands each to the function.
func stub(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	socket := socketPath(t)
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				serve(conn)
				_ = conn.Close() // the test is about what the client makes of it
			}()
		}
	}()
	return socket
}

func wantError(t *testing.T, err error, code console.Code, parts ...string) {
	t.Helper()
	var e *console.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *console.Error", err)
	}
	if e.Code != code {
		t.Errorf("code %s, want %s (%v)", e.Code, code, e)
	}
	for _, p := range parts {
		if !strings.Contains(e.Error(), p) {
			t.Errorf("%q does not say %q", e.Error(), p)
		}
	}
}

func TestAskAndDoRoundTrip(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	serve(t, socket, backend{
		ask: func(op string, q url.Values) (any, error) {
			if op != string(console.GetAudit) {
				t.Errorf("asked %s", op)
			}
			got, err := DecodeQuery(q)
			if want := (console.Query{ID: "r 1", Limit: 5, Before: 12}); err != nil || got != want {
				t.Errorf("query %+v, %v; want %+v", got, err, want)
			}
			return []console.AuditEntry{{Seq: 11, Text: "<what & who>"}}, nil
		},
		do: func(_ context.Context, op string, body json.RawMessage) (any, error) {
			var r console.StartRequest
			if err := json.Unmarshal(body, &r); err != nil {
				return nil, err
			}
			return console.Ack{Seq: 3, Message: op + " " + r.To + " " + string(r.Strategy) + " " + r.Reason}, nil
		},
	})
	c := New(socket)
	var audit []console.AuditEntry
	if err := c.Ask(t.Context(), console.GetAudit, console.Query{ID: "r 1", Limit: 5, Before: 12}, &audit); err != nil {
		t.Fatal(err)
	}
	if want := []console.AuditEntry{{Seq: 11, Text: "<what & who>"}}; !reflect.DeepEqual(audit, want) {
		t.Errorf("%+v, want %+v", audit, want)
	}
	req := console.StartRequest{To: "v2", Tuning: rollout.Tuning{Strategy: rollout.Canary}, Common: console.Common{Reason: "why"}}
	var ack console.Ack
	if err := c.Do(t.Context(), console.StartRollout, req, &ack); err != nil {
		t.Fatal(err)
	}
	if want := (console.Ack{Seq: 3, Message: "rollout.start v2 canary why"}); ack != want {
		t.Errorf("%+v, want %+v", ack, want)
	}
}

func TestErrorsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	sent := &console.Error{Code: console.CodeLocked, Message: "r-1 is under way", Hint: "wait"}
	serve(t, socket, backend{
		ask: func(string, url.Values) (any, error) { return nil, coded{sent, 423} },
		do: func(context.Context, string, json.RawMessage) (any, error) {
			return nil, errors.New("the disk is full")
		},
	})
	c := New(socket)
	err := c.Ask(t.Context(), console.GetStatus, console.Query{}, nil)
	if got := new(console.Error); !errors.As(err, &got) || *got != *sent {
		t.Errorf("%#v, want %#v", err, sent)
	}
	wantError(t, c.Do(t.Context(), console.Promote, console.Target{}, nil), console.CodeInternal, "the disk is full")
}

func TestAnswersThatAreNotCovetds(t *testing.T) {
	t.Parallel()
	answer := func(text string) string {
		return stub(t, func(conn net.Conn) {
			if _, err := conn.Read(make([]byte, 4096)); err == nil {
				_, _ = io.WriteString(conn, text)
			}
		})
	}
	cases := []struct {
		name, text string
		code       console.Code
		says       string
	}{
		{"another service", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", console.CodeInternal, "502 Bad Gateway"},
		{"not JSON", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", console.CodeInternal, "cannot read covetd's answer"},
		{"cut short", "HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{", console.CodeUnreachable, "lost the connection"},
		{"hung up", "", console.CodeUnreachable, "lost the connection"},
	}
	for _, tc := range cases {
		c := New(answer(tc.text))
		err := c.Ask(t.Context(), console.GetStatus, console.Query{}, new(console.Status))
		t.Log(err)
		wantError(t, err, tc.code, tc.says)
	}
	err := New(answer("")).Do(t.Context(), console.Rollback, console.RollbackRequest{}, nil)
	wantError(t, err, console.CodeUnreachable, "may have been accepted", "covetctl audit")
}

func TestDeadCovetdIsNoticed(t *testing.T) {
	t.Parallel()
	hung := stub(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	c := New(hung)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantError(t, c.Ask(ctx, console.GetStatus, console.Query{}, nil), console.CodeUnreachable, "did not answer in time", hung)

	c.silence = 50 * time.Millisecond
	for _, err := range c.Watch(t.Context(), 0) {
		wantError(t, err, console.CodeUnreachable, "silent for 50ms")
	}
	mute := New(stub(t, func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			return // an answer before the question would be an error of another kind
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}))
	mute.silence = 50 * time.Millisecond
	ended := false
	for _, err := range mute.Watch(t.Context(), 0) {
		wantError(t, err, console.CodeUnreachable, "silent for 50ms")
		ended = true
	}
	if !ended {
		t.Error("the stream ended without saying that covetd is silent")
	}
}

func TestSlowCallerIsNotTakenForASilentCovetd(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	serve(t, socket, backend{watch: events(3)})
	c := New(socket)
	c.silence = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []journal.Seq
	for u, err := range c.Watch(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, u.Event.Seq)
		switch len(seen) {
		case 1:
			time.Sleep(2 * c.silence) // longer than covetd may be silent
		case 3:
			cancel()
		}
	}
	if len(seen) != 3 {
		t.Errorf("saw %v", seen)
	}
}

// events yields the events after the number up to last, then waits.
func events(last uint64) func(ctx context.Context, after uint64) iter.Seq2[any, error] {
	return func(ctx context.Context, after uint64) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for n := after + 1; n <= last; n++ {
				if !yield(console.Update{Event: &journal.Event{Seq: journal.Seq(n)}}, nil) {
					return
				}
			}
			<-ctx.Done()
		}
	}
}

func TestWatchIsTakenUpAgainWithoutGapOrDouble(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	stop := serve(t, socket, backend{watch: events(3)})
	c := New(socket)
	var seen []journal.Seq
	last := journal.Seq(0)
	for u, err := range c.Watch(t.Context(), last) {
		if err != nil {
			wantError(t, err, console.CodeUnreachable)
			break
		}
		last = u.Event.Seq
		seen = append(seen, last)
		if last == 3 {
			stop() // the connection breaks, and covetd comes up again knowing more
		}
	}
	serve(t, socket, backend{watch: events(6)})
	for u, err := range c.Watch(t.Context(), last) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, u.Event.Seq)
		if u.Event.Seq == 6 {
			break
		}
	}
	if want := []journal.Seq{1, 2, 3, 4, 5, 6}; !reflect.DeepEqual(seen, want) {
		t.Errorf("saw %v, want %v", seen, want)
	}
}

func TestWatchSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	serve(t, socket, backend{watch: func(_ context.Context, after uint64) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			if !yield(console.Update{Event: &journal.Event{Seq: 9}}, nil) {
				return
			}
			if after == 1 {
				yield(nil, coded{&console.Error{Code: console.CodeDenied, Message: "no longer", Hint: "ask"}, 403})
			}
		}
	}})
	c := New(socket)
	var last error
	for _, last = range c.Watch(t.Context(), 1) { // only the end matters
	}
	wantError(t, last, console.CodeDenied, "no longer", "ask")
	for _, last = range c.Watch(t.Context(), 0) { // only the end matters
	}
	wantError(t, last, console.CodeUnreachable, "covetd ended the live stream", "covetctl attach")
}

func TestWatchEndsQuietlyWithItsContext(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	serve(t, socket, backend{watch: events(1)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range New(socket).Watch(ctx, 0) {
		if err != nil {
			t.Errorf("after the caller gave up: %v", err)
		}
		cancel()
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	serve(t, socket, backend{logs: func(v url.Values) iter.Seq2[any, error] {
		q, err := DecodeLogQuery(v)
		return func(yield func(any, error) bool) {
			if err == nil && q.Release == "gone" {
				err = coded{&console.Error{Code: console.CodeNotFound, Message: "no release gone"}, 404}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for range q.Lines {
				if !yield(console.LogLine{Seq: q.After, Release: q.Release, Instance: q.Instance, Text: strings.Repeat("x", 100<<10)}, nil) {
					return
				}
			}
		}
	}})
	c := New(socket)
	n := 0
	for line, err := range c.Logs(t.Context(), console.LogQuery{Release: "v1", Instance: "v1-0", Lines: 30, After: 7, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Seq != 7 || line.Release != "v1" || line.Instance != "v1-0" || len(line.Text) != 100<<10 {
			t.Fatalf("line %+v", line)
		}
		n++
	}
	if n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
	for _, err := range c.Logs(t.Context(), console.LogQuery{Release: "gone"}) {
		wantError(t, err, console.CodeNotFound, "no release gone")
	}
}
