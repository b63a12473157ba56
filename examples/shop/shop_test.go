package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// shopEnv makes the test binary run as the shop.
const shopEnv = "SHOP_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(shopEnv) != "" {
		os.Exit(run(os.Environ()))
	}
	os.Exit(m.Run())
}

// process is a shop under test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	out  output
	exit chan struct{}
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func start(t *testing.T, env ...string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0]), url: "http://127.0.0.1:" + port, exit: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), shopEnv+"=1", "PORT="+port, "LOG_FORMAT=json"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exit) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exit
		if t.Failed() {
			t.Logf("output:\n%s", p.out.String())
		}
	})
	return p
}

// up waits until the shop answers.
func (p *process) up() *process {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get(p.url + "/health/live")
		if err == nil {
			_ = resp.Body.Close()
			return p
		}
		if time.Now().After(deadline) {
			p.t.Fatal("the shop does not answer")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *process) status(path string) int {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (p *process) ended() int {
	p.t.Helper()
	select {
	case <-p.exit:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		p.t.Fatal("the shop does not end")
		return -1
	}
}

func (p *process) terminate() (int, time.Duration) {
	p.t.Helper()
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	return p.ended(), time.Since(begun)
}

func TestPurchase(t *testing.T) {
	t.Parallel()
	p := start(t, "SHOP_VERSION=v1.2.3").up()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	call := func(method, path, body string, status int, into any) http.Header {
		t.Helper()
		req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, text, status)
		}
		if into != nil {
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatalf("%s %s: %v in %s", method, path, err, text)
			}
		}
		return resp.Header
	}
	if h := call("GET", "/", "", 200, nil); h.Get("X-Shop-Version") != "v1.2.3" || !strings.Contains(h.Get("Content-Security-Policy"), "'self'") {
		t.Errorf("front page headers %v", h)
	}
	var one product
	call("GET", "/api/products/cup", "", 200, &one)
	call("GET", "/api/products/sofa", "", 404, nil)
	call("POST", "/api/checkout", "", 422, nil)
	call("POST", "/api/cart", `{"product":"cup","quantity":2}`, 200, nil)
	call("POST", "/api/cart", `{"product":"sofa","quantity":2}`, 422, nil)
	var cart cartView
	call("POST", "/api/cart", `{"product":"cup","quantity":1}`, 200, &cart)
	if cart.Total != 3*one.Price {
		t.Errorf("three cups cost %d", cart.Total)
	}
	var sale order
	call("POST", "/api/checkout", "", 201, &sale)
	if sale.Total != cart.Total {
		t.Errorf("sold for %d", sale.Total)
	}
	call("GET", "/api/orders/"+sale.ID, "", 200, &sale)
	call("GET", "/api/cart", "", 200, &cart)
	if len(cart.Lines) != 0 {
		t.Errorf("after the checkout the cart holds %v", cart.Lines)
	}
	if code, took := p.terminate(); code != 0 || took > 2*time.Second {
		t.Errorf("ended with %d after %v", code, took)
	}
}

func TestExportIsWholeAndPaced(t *testing.T) {
	t.Parallel()
	p := start(t).up()
	begun := time.Now()
	resp, err := http.Get(p.url + "/export?mb=1&rate=2MiB")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = resp.Body.Close()
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("half a second's worth took %v", took)
	}
	if got := p.status("/export?mb=0"); got != 400 {
		t.Errorf("mb=0: %d", got)
	}
}

func TestFeedSaysGoodbye(t *testing.T) {
	t.Parallel()
	p := start(t).up()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, strings.Replace(p.url, "http", "ws", 1)+"/feed/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(p.url + "/feed")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = c.Read(ctx)
	}
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the event stream ended with %v", err)
	}
	_ = resp.Body.Close()
	if code := p.ended(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	t.Run("errors", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_ERROR_RATE=0.5").up()
		failed := 0
		for range 100 {
			if p.status("/api/products") == 500 {
				failed++
			}
		}
		if failed < 20 || failed > 80 {
			t.Errorf("%d of 100 failed at a rate of 0.5", failed)
		}
		if got := p.status("/health/ready"); got != 200 {
			t.Errorf("ready: %d", got)
		}
	})
	t.Run("latency", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_LATENCY=200ms", "SHOP_LATENCY_JITTER=1ms").up()
		begun := time.Now()
		p.status("/")
		if took := time.Since(begun); took < 200*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
	t.Run("not ready", func(t *testing.T) {
		t.Parallel()
		if got := start(t, "SHOP_NOT_READY=1").up().status("/health/ready"); got != 503 {
			t.Errorf("ready: %d", got)
		}
	})
	t.Run("crash", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_CRASH_AFTER=3").up()
		for range 3 {
			p.status("/")
		}
		if resp, err := http.Get(p.url + "/"); err == nil {
			_ = resp.Body.Close()
			t.Errorf("the fourth request got %d", resp.StatusCode)
		}
		if code := p.ended(); code != 2 {
			t.Errorf("exit status %d, want a panic's", code)
		}
	})
	t.Run("slow shutdown", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_SLOW_SHUTDOWN=1200ms").up()
		if code, took := p.terminate(); code != 0 || took < 1200*time.Millisecond {
			t.Errorf("ended with %d after %v", code, took)
		}
	})
	t.Run("exit at start", func(t *testing.T) {
		t.Parallel()
		if code := start(t, "SHOP_EXIT_AT_START=7").ended(); code != 7 {
			t.Errorf("exit status %d", code)
		}
	})
	t.Run("hang", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_HANG=1")
		deadline := time.Now().Add(time.Minute)
		for {
			c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err == nil {
				_ = c.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not listen")
			}
			time.Sleep(10 * time.Millisecond)
		}
		c := &http.Client{Timeout: 300 * time.Millisecond}
		if resp, err := c.Get(p.url + "/health/live"); err == nil {
			_ = resp.Body.Close()
			t.Errorf("it answers %d", resp.StatusCode)
		}
	})
	t.Run("leak", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_LEAK_MB_PER_MIN=3000").up()
		deadline := time.Now().Add(time.Minute)
		for residentMB(t, p.cmd.Process.Pid) < 100 {
			if time.Now().After(deadline) {
				t.Fatal("it does not grow")
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	t.Run("wrong settings", func(t *testing.T) {
		t.Parallel()
		p := start(t, "SHOP_ERROR_RATE=lots", "SHOP_LATENCY=-1s")
		if code := p.ended(); code != 2 {
			t.Errorf("exit status %d", code)
		}
		for _, name := range []string{"SHOP_ERROR_RATE", "SHOP_LATENCY"} {
			if !strings.Contains(p.out.String(), name) {
				t.Errorf("%s is not named in %q", name, p.out.String())
			}
		}
	})
}

func residentMB(t *testing.T, pid int) int {
	t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize() >> 20
}
