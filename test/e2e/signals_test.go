package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/covetpy/covet/ops/rollout"
)

// What is under way when SIGTERM comes is answered, and nothing is left.
func TestSIGTERMLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	p := serving(t, 2, "APP_ENV=SHOP_VERSION=v1.0.0 SHOP_LATENCY=2s")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	answers := make(chan string, 8)
	for range cap(answers) {
		go func() { answers <- fetch(ctx, p.url+"/api/products") }()
	}
	c, _, err := websocket.Dial(ctx, strings.Replace(p.url, "http", "ws", 1)+"/feed/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	p.await(10*time.Second, "the requests are under way", func() bool { return p.inFlight() >= cap(answers) })
	p.signal(syscall.SIGTERM)
	for range cap(answers) {
		if got := <-answers; got != "200 OK" {
			t.Errorf("a request under way was answered %s", got)
		}
	}
	for err == nil {
		_, _, err = c.Read(ctx)
	}
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want 1001", err)
	}
	if code := p.awaitEnd(40 * time.Second); code != 0 {
		t.Errorf("covetd ended with %d, want 0", code)
	}
	p.awaitNoWorkers(time.Second)
}

// inFlight is how many requests the instances are answering.
func (p *place) inFlight() int { return p.status().Traffic.Connections }

// fetch is the status of an answer that arrived whole, or the error.
func fetch(ctx context.Context, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return err.Error()
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err.Error()
	}
	return resp.Status
}

// A stream that would never end is ended properly within the time-out.
func TestSIGTERMEndsStreamsInTime(t *testing.T) {
	t.Parallel()
	p := serving(t, 1, "SHUTDOWN_TIMEOUT=8s", "APP_ENV=SHOP_SLOW_SHUTDOWN=700ms")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ended := make(chan string, 1)
	go func() { ended <- fetch(ctx, p.url+"/feed") }()
	p.await(10*time.Second, "the stream is open", func() bool { return p.inFlight() > 0 })
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	if got := <-ended; got != "200 OK" {
		t.Errorf("the stream ended with %s", got)
	}
	if code := p.awaitEnd(20 * time.Second); code != 0 {
		t.Errorf("covetd ended with %d, want 0", code)
	}
	if said := p.log.String(); strings.Contains(said, "killed") || strings.Contains(said, "cut ") {
		t.Errorf("the worker was not left the time to end:\n%s", p.log.tail(20))
	}
	t.Logf("bench sigterm_with_stream ms=%d", time.Since(begun).Milliseconds())
	p.awaitNoWorkers(time.Second)
}

// A rollout that is interrupted by an orderly stop goes on with the next start.
func TestSIGTERMInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	p.shop("v1.1.0", 2)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "1s", "--keep", "0s")
	p.await(30*time.Second, "half of the traffic has moved", func() bool { return p.status().Weights["v1.1.0"] == 50 })
	l := p.crowd()
	p.await(10*time.Second, "there is some load", func() bool { return l.requests.Load() > 40 })
	l.stop()
	p.signal(syscall.SIGTERM)
	if code := p.awaitEnd(40 * time.Second); code != 0 {
		t.Errorf("covetd ended with %d, want 0", code)
	}
	p.awaitNoWorkers(time.Second)
	if a := p.must(0, "status"); !a.says("not running", "r-1") {
		t.Errorf("status without covetd: %s", a)
	}
	p.start()
	p.awaitReady()
	if r := p.awaitRollout("r-1", 60*time.Second); r.Phase != rollout.Succeeded {
		t.Errorf("the rollout ended as %s: %s", r.Phase, r.Message)
	}
	p.awaitOne("v1.1.0")
}

func TestSIGQUITEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := serving(t, 2, "APP_ENV=SHOP_VERSION=v1.0.0 SHOP_LATENCY=30s SHOP_SLOW_SHUTDOWN=20s")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go fetch(ctx, p.url+"/")
	p.await(10*time.Second, "a request is under way", func() bool { return p.inFlight() > 0 })
	p.signal(syscall.SIGQUIT)
	if code := p.awaitEnd(10 * time.Second); code != 0 {
		t.Errorf("covetd ended with %d, want 0", code)
	}
	p.awaitNoWorkers(time.Second)
}

func TestSIGHUPReloadsWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	l := p.crowd()
	pid := p.status().PID
	for range 5 {
		before := strings.Count(p.log.String(), "reload")
		p.signal(syscall.SIGHUP)
		p.await(10*time.Second, "the reload is logged", func() bool { return strings.Count(p.log.String(), "reload") > before })
	}
	l.stop()
	if got := p.status().PID; got != pid {
		t.Errorf("covetd is process %d now, was %d", got, pid)
	}
}

// Whoever reads covetd's log may die; covetd may not.
func TestCovetdOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "APP_COMMAND="+built.shop, "APP_WORKERS=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(built.covetd, "--data-dir", p.dir, "--listen", p.addr, "--env-file", "")
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.env, p.dir, w, w
	p.launch()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, io.LimitReader(r, 100)) // a reader that soon has enough
	p.awaitReady()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p.get("/")
	}
	p.signal(syscall.SIGTERM)
	if code := p.awaitEnd(40 * time.Second); code != 0 {
		t.Errorf("covetd ended with %d, want 0: %v", code, p.exit)
	}
}
