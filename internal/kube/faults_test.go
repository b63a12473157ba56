package kube

import (
	"context"
	"fmt"

	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// fault is what happens to one request to the API server.
type fault struct {
	delay  time.Duration
	status int // answered instead of being passed on
	reason string
	lost   bool // passed on, and the answer is lost
	cut    bool // nothing gets through
}

// badLine is a bad connection to the API server.
type badLine struct {
	kubeconfig string
	fault      atomic.Pointer[func(*http.Request) fault]
	passed     atomic.Int64

	mu   sync.Mutex
	open map[*http.Request]context.CancelFunc
}

func newBadLine(w *world) *badLine {
	w.t.Helper()
	at, err := Target{Kubeconfig: w.kubeconfig}.resolve()
	if err != nil {
		w.t.Fatal(err)
	}
	target, err := url.Parse(at.config.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	transport, err := rest.TransportFor(at.config)
	if err != nil {
		w.t.Fatal(err)
	}
	l := &badLine{open: map[*http.Request]context.CancelFunc{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { l.serve(proxy, rw, r) }))
	w.t.Cleanup(func() {
		l.hangUp()
		server.CloseClientConnections()
		server.Close()
	})
	l.kubeconfig = filepath.Join(w.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\n", server.URL)
	if err := os.WriteFile(l.kubeconfig, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (l *badLine) set(f func(*http.Request) fault) { l.fault.Store(&f) }

// hangUp breaks every connection that is open now.
func (l *badLine) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cancel := range l.open {
		cancel()
	}
}

func (l *badLine) serve(proxy http.Handler, rw http.ResponseWriter, r *http.Request) {
	l.passed.Add(1)
	var f fault
	if set := l.fault.Load(); set != nil {
		f = (*set)(r)
	}
	time.Sleep(f.delay)
	switch {
	case f.cut:
		panic(http.ErrAbortHandler)
	case f.status != 0:
		rw.Header().Set("Content-Type", "application/json")
		if f.status == http.StatusTooManyRequests {
			rw.Header().Set("Retry-After", "1")
		}
		rw.WriteHeader(f.status)
		fmt.Fprintf(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":"a fault of the test"}`, f.status, f.reason)
		return
	case f.lost:
		lost := httptest.NewRecorder()
		proxy.ServeHTTP(lost, r)
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	l.mu.Lock()
	l.open[r] = cancel
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, r)
	}()
	proxy.ServeHTTP(rw, r.WithContext(ctx))
}

func watches(r *http.Request) bool { return r.URL.Query().Get("watch") != "" }

// once checks that no step of a rollout was done twice, and none was skipped.
func (w *world) once(p *Port, id string) {
	w.t.Helper()
	counts := map[string]int{}
	for e, err := range newJournal(w.client, "web").Read(w.t.Context(), 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Subject == id {
			var d rollout.StepData
			_ = e.Decode(&d) // events without a step have none
			counts[fmt.Sprintf("%s %d", e.Kind, d.Step)]++
		}
	}
	r, _ := p.state().Find(id)
	for i := range r.Steps {
		for _, kind := range []journal.Kind{rollout.RolloutReady, rollout.RolloutShifted} {
			if n := counts[fmt.Sprintf("%s %d", kind, i)]; n != 1 {
				w.t.Errorf("step %d: %s %d times", i, kind, n)
			}
		}
	}
	if n := counts[string(rollout.RolloutEnded)+" 0"]; n != 1 {
		w.t.Errorf("it ended %d times", n)
	}
}

func TestRolloutThroughABadLine(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	l := newBadLine(w)
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	l.set(func(r *http.Request) fault {
		if watches(r) && rand.IntN(4) > 0 {
			return fault{}
		}
		switch rand.IntN(12) {
		case 0:
			return fault{status: http.StatusTooManyRequests}
		case 1:
			return fault{status: http.StatusInternalServerError}
		case 2:
			return fault{status: http.StatusServiceUnavailable}
		case 3:
			return fault{lost: !watches(r)}
		case 4:
			return fault{cut: true}
		}
		return fault{}
	})
	in := quick("v1.1.0", rollout.Canary)
	in.Weights = []int{10, 50, 100}
	ack := w.do(p, console.StartRollout, in)
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	l.set(func(*http.Request) fault { return fault{} })
	w.once(p, ack.Rollout.ID)
	w.tidied(p)
}

// Every single question is answered by a fault the first time: none may be asked only once, or a command is refused for a moment's
// trouble.
func TestEveryQuestionIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	l := newBadLine(w)
	var mu sync.Mutex
	asked := map[string]bool{}
	l.set(func(r *http.Request) fault {
		mu.Lock()
		defer mu.Unlock()
		key := r.Method + " " + r.URL.Path
		if watches(r) || asked[key] {
			return fault{}
		}
		asked[key] = true
		return fault{status: http.StatusServiceUnavailable}
	})
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	forget := func() {
		mu.Lock()
		defer mu.Unlock()
		clear(asked)
	}
	forget()
	ack := w.do(p, console.StartRollout, quick("v1.1.0", rollout.BlueGreen))
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	forget()
	ack = w.do(p, console.Rollback, console.RollbackRequest{To: "v1.0.0"})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
}

func TestSlowAPIServer(t *testing.T) {
	w := newWorld(t)
	l := newBadLine(w)
	l.set(func(r *http.Request) fault { return fault{delay: 2 * time.Second} })
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	ack := w.do(p, console.StartRollout, quick("v1.1.0", rollout.BlueGreen))
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.once(p, ack.Rollout.ID)
}

// The network is cut in the middle of a canary: the traffic stays as it is, and the rollout goes on afterwards.
func TestNetworkCutInTheMiddle(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	l := newBadLine(w)
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Bake = []int{10, 100}, journal.Duration(4*time.Second)
	ack := w.do(p, console.StartRollout, in)
	w.eventually("10% is set", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Baking })
	l.set(func(*http.Request) fault { return fault{cut: true} })
	l.hangUp()
	before := digest(w.get(httpRoutes, "web").Object["spec"])
	time.Sleep(6 * time.Second)
	if digest(w.get(httpRoutes, "web").Object["spec"]) != before {
		t.Error("the traffic did not stay as it was")
	}
	l.set(func(*http.Request) fault { return fault{} })
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.once(p, ack.Rollout.ID)
	w.tidied(p)
}

// At rest the API server is asked for nothing but what is watched.
func TestIdleConsoleOnlyWatches(t *testing.T) {
	w := newWorld(t)
	l := newBadLine(w)
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ask(t.Context(), console.GetStatus, console.Query{}, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	before := l.passed.Load()
	for range 20 {
		if err := p.Ask(t.Context(), console.GetStatus, console.Query{}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if n := l.passed.Load() - before; n > 0 {
		t.Errorf("%d requests in two seconds at rest", n)
	}
}

// One driver after another is killed in the middle of what it does; each next one takes over.
func TestManyDriversKilledOneAfterAnother(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Bake = []int{5, 10, 20, 40, 60, 80, 100}, journal.Duration(400*time.Millisecond)
	in.Approve = []int{5}
	ack := w.do(p, console.StartRollout, in)
	w.eventually("it waits", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	w.do(p, console.Promote, console.Target{})
	for n := 0; ; n++ {
		if r, ok := p.state().Find(ack.Rollout.ID); ok && r.Phase.Ended() {
			t.Logf("%d drivers were killed", n)
			break
		}
		if n > 60 {
			t.Fatalf("it does not get on:\n%s", w.story(p))
		}
		p.killed()
		p = w.open()
		p.driver.wake(true)
		time.Sleep(100*time.Millisecond + time.Duration(rand.IntN(1800))*time.Millisecond)
	}
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.once(p, ack.Rollout.ID)
	w.tidied(p)
}

// killed ends a driver as kill -9 would: it lets nothing go, and finishes nothing.
func (p *Port) killed() {
	p.stop()
	p.driver.mu.Lock()
	p.driver.stop = nil
	p.driver.mu.Unlock()
}

// Two drivers at once, with no lease between them: what is journalled is journalled once, and the world ends up the same.
func TestTwoDriversAtOnce(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p, q := w.open(), w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.eventually("the other sees the release", func() bool { return len(q.state().Releases) == 2 })
	ctx, stop := context.WithCancel(t.Context())
	var both sync.WaitGroup
	for _, port := range []*Port{p, q} {
		engine := &rollout.Engine{ // beside the driver's own, which runs as well
			Keeper: port.keeper, Platform: port.driver.platform(), Router: &Router{hand: port.hand}, Signals: port.driver.signals, Matrix: port.matrix,
			Log: port.options.Log, Every: 100 * time.Millisecond,
		}
		both.Go(func() { _ = engine.Run(ctx) })
	}
	defer both.Wait()
	defer stop()
	in := quick("v1.1.0", rollout.Canary)
	in.Weights = []int{10, 30, 60, 100}
	var ack console.Ack
	if err := p.Do(t.Context(), console.StartRollout, in, &ack); err != nil {
		t.Fatal(err)
	}
	w.ends(q, ack.Rollout.ID, rollout.Succeeded)
	w.once(q, ack.Rollout.ID)
	w.tidied(q)
}

// A laptop dies at 10 %. Its lease is still fresh, but a rollback from elsewhere does not wait for it.
func TestRollbackWhileTheLaptopThatDroveIsDead(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Bake, in.NoBake = []int{10, 100}, journal.Duration(time.Hour), false
	ack := w.do(p, console.StartRollout, in)
	weighs := func() bool { return strings.Contains(fmt.Sprint(w.get(httpRoutes, "web").Object["spec"]), "web-covet") }
	w.eventually("10% is set", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Baking })
	p.killed()
	w.eventually("the laptop holds the lease", func() bool { // its driver may be renewing its own just now
		_, err := newLease(w.client, "web", "covetctl laptop 4711").take(t.Context(), time.Now(), true)
		return err == nil
	})
	if !weighs() {
		t.Error("the traffic did not stay as it was")
	}
	q := w.open()
	if self, who := q.Drives(t.Context()); self || who != "covetctl laptop 4711" {
		t.Errorf("%v, %q", self, who)
	}
	began := time.Now()
	w.do(q, console.Rollback, console.RollbackRequest{})
	if self, who := q.Drives(t.Context()); !self {
		t.Errorf("the rollback is left to %s", who)
	}
	w.eventually("the candidate has no weight", func() bool { return !weighs() })
	took := time.Since(began)
	t.Logf("no weight after %s", took)
	if took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	w.ends(q, ack.Rollout.ID, rollout.RolledBack)
	w.tidied(q)
}

// A lease outlives who held it: what is asked for is left only to somebody who has shown to be alive.
func TestOnlyTheLivingCarryOut(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	as := func(holder string, ago time.Duration) {
		w.eventually(holder+" holds the lease", func() bool {
			_, err := newLease(w.client, "web", holder).take(t.Context(), time.Now().Add(-ago), true)
			return err == nil
		})
	}
	asked := func() (self bool, who, unsure string) {
		self, who = p.Carries(t.Context(), func(who string, longest time.Duration) {
			unsure = who
			if longest <= 0 || longest > leaseDuration {
				t.Errorf("it looks for %s", longest)
			}
		})
		return self, who, unsure
	}
	as("controller web-1 7", time.Second)
	if self, who, unsure := asked(); self || who != "controller web-1 7" || unsure != "" {
		t.Errorf("a controller: %v, %q, %q", self, who, unsure)
	}
	as("controller web-1 7", 5*time.Second)
	if self, who, unsure := asked(); !self || unsure != "controller web-1 7" {
		t.Errorf("a controller that is gone: %v, %q, %q", self, who, unsure)
	}
	as("covetctl laptop 4711", 5*time.Second)
	if self, who, unsure := asked(); !self || unsure != "covetctl laptop 4711" {
		t.Errorf("a laptop that is gone: %v, %q, %q", self, who, unsure)
	}
	as("covetctl laptop 4711", -time.Hour)
	if self, who, unsure := asked(); !self || unsure != "covetctl laptop 4711" {
		t.Errorf("a laptop that is gone, whose clock was ahead: %v, %q, %q", self, who, unsure)
	}
	as("covetctl laptop 4711", 0)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		time.Sleep(500 * time.Millisecond)
		if _, err := newLease(w.client, "web", "covetctl laptop 4711").take(t.Context(), time.Now(), false); err != nil {
			t.Error(err)
		}
	})
	if self, who, unsure := asked(); self || who != "covetctl laptop 4711" || unsure == "" {
		t.Errorf("a laptop that renews it: %v, %q, %q", self, who, unsure)
	}
	renewing.Wait()
}
