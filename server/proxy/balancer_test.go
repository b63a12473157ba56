package proxy

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWeightsAreExact(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	for _, id := range []string{"a1", "a2"} {
		f.worker(t, id, "v1", named("v1"))
	}
	f.worker(t, "b1", "v2", named("v2"))
	for _, w := range []int{10, 0, 50, 100, 25} {
		if err := f.SetWeights(map[string]int{"v1": 100 - w, "v2": w}); err != nil {
			t.Fatal(err)
		}
		got := 0
		for range 100 {
			if r := f.get(t, "/"); r.body == "v2" && r.Header.Get("X-Covet-Release") == "v2" {
				got++
			}
		}
		if got != w {
			t.Errorf("with weight %d v2 got %d of 100 requests", w, got)
		}
	}
}

func TestSetWeightsRefusesWhatIsNotAShare(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	if b.Weights() != nil {
		t.Error("a new balancer has weights")
	}
	good := map[string]int{"v1": 70, "v2": 30}
	if err := b.SetWeights(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []map[string]int{nil, {"v1": 99}, {"v1": 101}, {"v1": 105, "v2": -5}, {"v1": 60, "v2": 60}} {
		if err := b.SetWeights(bad); err == nil {
			t.Errorf("weights %v were accepted", bad)
		}
		if !maps.Equal(b.Weights(), good) {
			t.Errorf("weights are %v after %v was refused", b.Weights(), bad)
		}
	}
}

func TestCanaryHeader(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	f.worker(t, "a", "v1", named("v1"))
	f.worker(t, "b", "v2", named("v2"))
	f.SetCandidate("v2")
	if err := f.SetWeights(map[string]int{"v1": 100, "v2": 0}); err != nil {
		t.Fatal(err)
	}
	if r := f.get(t, "/", "x-canary", "TRUE"); r.body != "v2" || r.Header.Get("X-Covet-Canary") != "" {
		t.Errorf("canary got %s, X-Covet-Canary %q", r.body, r.Header.Get("X-Covet-Canary"))
	}
	if r := f.get(t, "/", "x-canary", "false"); r.body != "v1" {
		t.Errorf("x-canary: false got %s", r.body)
	}
	if err := f.Suspend("b"); err != nil {
		t.Fatal(err)
	}
	if r := f.get(t, "/", "x-canary", "true"); r.body != "v1" || r.Header.Get("X-Covet-Canary") != "unavailable" {
		t.Errorf("canary got %s, X-Covet-Canary %q", r.body, r.Header.Get("X-Covet-Canary"))
	}
	if err := f.Resume("b"); err != nil {
		t.Fatal(err)
	}
	if r := f.get(t, "/", "x-canary", "true"); r.body != "v2" {
		t.Errorf("canary got %s after the candidate was resumed", r.body)
	}
}

func TestJoinIsIdempotentAndMoves(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	one := f.worker(t, "a", "v1", named("one"))
	f.get(t, "/")
	f.Join(Target{ID: "a", Release: "v1", Addr: one.Listener.Addr().String()})
	if n := f.instance(t, "a").Requests; n != 1 {
		t.Errorf("joining again left %d requests in the counters, want 1", n)
	}
	f.worker(t, "a", "v1", named("two"))
	if r := f.get(t, "/"); r.body != "two" {
		t.Errorf("the request went to %s after the instance had joined with a new address", r.body)
	}
	s := f.Stats()
	if len(s.Instances) != 1 || s.Instances[0].Requests != 1 || s.Releases[0].Requests != 2 {
		t.Errorf("stats: %d instances, %d requests of the release", len(s.Instances), s.Releases[0].Requests)
	}
}

func TestUnknownInstances(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	for name, err := range map[string]error{"Leave": b.Leave(t.Context(), "x"), "Suspend": b.Suspend("x"), "Resume": b.Resume("x")} {
		if !errors.Is(err, ErrUnknownInstance) || !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHoldsUntilAnInstanceIsReady(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: quickly})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if r := f.get(t, "/"); r.body != "a" {
				t.Errorf("got %d %q", r.StatusCode, r.body)
			}
		})
	}
	eventually(t, "5 requests are held", func() bool { return f.Stats().Holding == 5 })
	f.worker(t, "a", "v1", named("a"))
	wg.Wait()
	if s := f.Stats(); s.Held != 5 || s.Holding != 0 || s.Refused != 0 {
		t.Errorf("held %d, holding %d, refused %d", s.Held, s.Holding, s.Refused)
	}
}

func TestHoldEndsWith503(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: 20 * time.Millisecond})
	r := f.get(t, "/")
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" ||
		r.Header.Get("Content-Type") != "application/json" || !strings.Contains(r.body, `"error":"no_ready_instance","message":"no instance is ready; try again in a moment","status":503`) {
		t.Errorf("got %d %v %q", r.StatusCode, r.Header, r.body)
	}
	if s := f.Stats(); s.Refused != 1 {
		t.Errorf("refused %d", s.Refused)
	}
}

func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{Hold: quickly, HoldLimit: 1})
	done := make(chan reply, 1)
	go func() { done <- f.get(t, "/") }()
	eventually(t, "one request is held", func() bool { return f.Stats().Holding == 1 })
	if r := f.get(t, "/"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the second got %d", r.StatusCode)
	}
	f.worker(t, "a", "v1", named("a"))
	if r := <-done; r.body != "a" {
		t.Errorf("the first got %d %q", r.StatusCode, r.body)
	}
}

func TestStatsOfAWindow(t *testing.T) {
	t.Parallel()
	f := newFront(t, Options{})
	fail := false
	f.worker(t, "a", "v1", func(w http.ResponseWriter, _ *http.Request) {
		if fail {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	for range 3 {
		f.get(t, "/")
	}
	before := f.Stats().Releases[0].Counters
	fail = true
	f.get(t, "/")
	w := f.Stats().Releases[0].Sub(before)
	if w.Requests != 1 || w.Status != [6]uint64{5: 1} || w.Latency.Count != 1 || w.Failures.Total() != 0 {
		t.Errorf("the window holds %d requests, status %v, %d latencies", w.Requests, w.Status, w.Latency.Count)
	}
	if sum := before.Add(w); sum != f.Stats().Releases[0].Counters {
		t.Error("the window and what was before it are not the whole")
	}
}

func TestCutErrorSaysWhatWasCut(t *testing.T) {
	t.Parallel()
	got := (&CutError{ID: "a", Requests: 2, Upgraded: 1, Cause: errors.New("time is over")}).Error()
	if want := `balancer: instance "a" left with 2 requests and 1 upgraded connections cut off: time is over`; got != want {
		t.Errorf("got %q", got)
	}
}
