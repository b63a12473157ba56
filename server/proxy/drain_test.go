package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLeaveWaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: 10 * time.Millisecond})
	release := make(chan struct{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		<-release
		_, _ = io.WriteString(w, "done")
	})
	answer := make(chan reply, 1)
	go func() { answer <- f.get(t, "/") }()
	eventually(t, "the request is in flight", func() bool { return f.instance(t, "a").InFlight == 1 })

	left := make(chan error, 1)
	go func() { left <- f.Leave(soon(t), "a") }()
	eventually(t, "the instance is leaving", func() bool { return !f.instance(t, "a").Ready })
	if r := f.get(t, "/"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a leaving instance took a request: %d %q", r.StatusCode, r.body)
	}
	select {
	case err := <-left:
		t.Fatalf("Leave returned %v with a request in flight", err)
	default:
	}
	close(release)
	if err := <-left; err != nil {
		t.Error(err)
	}
	if r := <-answer; r.body != "done" || r.err != nil {
		t.Errorf("the request in flight got %q, %v", r.body, r.err)
	}
	s := f.Stats()
	if len(s.Instances) != 0 || len(s.Releases) != 1 || s.Releases[0].Status[2] != 1 {
		t.Errorf("after leaving: %d instances, releases %+v", len(s.Instances), s.Releases)
	}
}

func TestLeaveCutsWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	arrived := make(chan struct{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	answer := make(chan reply, 1)
	go func() { answer <- f.get(t, "/") }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.Leave(ctx, "a")
	var cut *CutError
	if !errors.As(err, &cut) || cut.Requests != 1 || cut.Upgraded != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Leave returned %v", err)
	}
	if r := <-answer; r.StatusCode != http.StatusBadGateway {
		t.Errorf("the request that was cut got %d", r.StatusCode)
	}
	eventually(t, "the cut request is counted", func() bool {
		s := f.Stats().Releases
		return len(s) == 1 && s[0].Failures.Cut == 1 && s[0].InFlight == 0
	})
}

// TestCountersOfARequestThatOutlivesLeave has a client that does not read, so that cutting the instance does not end the
// request.
func TestCountersOfARequestThatOutlivesLeave(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000000")
		_, _ = io.Copy(w, zeros{})
	})
	c, r := f.raw(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := r.Peek(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var cut *CutError
	if err := f.Leave(ctx, "a"); !errors.As(err, &cut) || cut.Requests != 1 {
		t.Errorf("Leave: %v", err)
	}
	if s := f.Stats(); len(s.Instances) != 0 || len(s.Releases) != 1 || s.Releases[0].Requests != 1 {
		t.Errorf("after Leave: %d instances, releases %v", len(s.Instances), s.Releases)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the request is over and still counted", func() bool {
		s := f.Stats().Releases
		return len(s) == 1 && s[0].Requests == 1 && s[0].InFlight == 0
	})
	if n := len(f.members); n != 0 {
		t.Errorf("%d instances are still kept", n)
	}
}

// TestNoRequestFailsThroughChanges moves weights, suspends, drains and replaces instances under load.
func TestNoRequestFailsThroughChanges(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	var served [3]atomic.Int64
	serve := func(i int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			served[i].Add(1)
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("a worker could not read a request: %v", err)
			}
			_, _ = w.Write(body)
		}
	}
	f.worker(t, "a", "v1", serve(0))
	f.worker(t, "b", "v1", serve(1))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() { f.load(ctx, t, n) })
	}
	for range 15 {
		c := f.worker(t, "c", "v2", serve(2))
		for _, w := range []int{10, 50, 100} {
			if err := f.SetWeights(map[string]int{"v1": 100 - w, "v2": w}); err != nil {
				t.Error(err)
			}
			before := served[2].Load()
			eventually(t, "v2 serves", func() bool { return served[2].Load() > before+5 })
		}
		if err := errors.Join(f.Suspend("a"), f.Resume("a")); err != nil {
			t.Error(err)
		}
		if err := f.Leave(soon(t), "c"); err != nil {
			t.Error(err)
		}
		c.Close() // as a supervisor would stop the worker: nothing may be in flight any more
	}
	stop()
	wg.Wait()
	if s := f.Stats(); s.Refused != 0 || s.Releases[0].Failures.Total()+s.Releases[1].Failures.Total() != 0 {
		t.Errorf("refused %d, failures %+v and %+v", s.Refused, s.Releases[0].Failures, s.Releases[1].Failures)
	}
}

// load makes requests of all sorts until ctx ends; none may fail.
func (f *front) load(ctx context.Context, t *testing.T, n int) {
	sizes := []int{0, 10, 5000, 40_000}
	for ctx.Err() == nil {
		size := sizes[n%len(sizes)]
		n++
		req, err := http.NewRequest(http.MethodPost, f.url, io.LimitReader(zeros{}, int64(size)))
		if err != nil {
			t.Error(err)
			return
		}
		if n%2 == 0 {
			req.ContentLength = int64(size)
		}
		resp, err := f.client.Do(req)
		if err != nil {
			t.Errorf("request of %d bytes: %v", size, err)
			return
		}
		got, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || got != int64(size) {
			t.Errorf("request of %d bytes: %d, %d bytes, %v", size, resp.StatusCode, got, err)
			return
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
