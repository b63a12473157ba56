package server

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/covetpy/covet/server/config"
)

func TestLifeStartsAndStopsInOrder(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.awaitLog(`"message":"ready"`)
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d after SIGTERM, want 0", code)
	}
	s.awaitLog(`"message":"stopped"`)
	var at int
	for _, step := range []string{"listening", "store-start", "workers_start", "ready", "stopping", "workers-stop", "store-stop", "stopped"} {
		i := strings.Index(s.log.String()[at:], `"message":"`+step+`"`)
		if i < 0 {
			t.Fatalf("the log does not say %q in its place", step)
		}
		at += i
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "covetd.sock")); !os.IsNotExist(err) {
		t.Errorf("the operations socket is still there: %v", err)
	}
}

func TestDrainFinishesRequestsAndIdleClients(t *testing.T) {
	t.Parallel()
	s := startService(t, "IDLE_GRACE=3s")
	s.awaitLog(`"message":"ready"`)
	idle := &http.Client{Transport: &http.Transport{}}
	if _, err := getBody(idle, "http://"+s.addr+"/pid"); err != nil {
		t.Fatal(err)
	}
	slow := make(chan string, 1)
	go func() {
		body, err := s.get("/slow?d=900ms")
		if err != nil {
			body = err.Error()
		}
		slow <- body
	}()
	s.await("the slow request", func() bool {
		body, err := s.get("/metrics")
		return err == nil && strings.Contains(body, "covetpy_active_connections 3")
	})
	s.signal(syscall.SIGTERM)
	s.awaitLog(`"message":"stopping"`)
	s.await("new connections to be refused", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	resp, err := idle.Get("http://" + s.addr + "/pid")
	if err != nil {
		t.Errorf("a kept-alive connection within the grace: %v", err)
	} else {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if !resp.Close {
			t.Error("the answer does not say Connection: close")
		}
	}
	if body := <-slow; body != "done" {
		t.Errorf("the request in flight got %q", body)
	}
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	s.awaitLog(`"message":"stopped"`)
	if strings.Contains(s.log.String(), "cut a request") {
		t.Error("something was cut")
	}
}

func TestDrainDelayServesUnready(t *testing.T) {
	t.Parallel()
	s := startService(t, "DRAIN_DELAY=600ms", "SHUTDOWN_TIMEOUT=10s")
	s.awaitLog(`"message":"ready"`)
	s.signal(syscall.SIGTERM)
	s.awaitLog(`"message":"stopping"`)
	resp, err := http.Get("http://" + s.addr + "/health/ready")
	if err != nil {
		t.Fatalf("during the drain delay: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready answers %d while draining, want 503", resp.StatusCode)
	}
	if _, err := s.get("/pid"); err != nil {
		t.Errorf("requests are still served during the delay: %v", err)
	}
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestShutdownTimeoutNamesWhatItCuts(t *testing.T) {
	t.Parallel()
	s := startService(t, "SHUTDOWN_TIMEOUT=2s")
	s.awaitLog(`"message":"ready"`)
	go func() { _, _ = s.get("/slow?d=1m") }()
	s.await("the request to be in flight", func() bool {
		body, err := s.get("/metrics")
		return err == nil && strings.Contains(body, "covetpy_active_connections 2")
	})
	begun := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("took %v, with a time-out of 2s", took)
	}
	s.awaitLog(`"message":"stopped"`)
	log := s.log.String()
	if !strings.Contains(log, `"message":"cut a request"`) || !strings.Contains(log, `"path":"/slow"`) {
		t.Error("the log does not name the request that was cut")
	}
}

func TestSecondSignalAndQuitExitNow(t *testing.T) {
	t.Parallel()
	for name, signals := range map[string][]syscall.Signal{
		"second SIGTERM": {syscall.SIGTERM, syscall.SIGTERM},
		"SIGQUIT":        {syscall.SIGQUIT},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			s.awaitLog(`"message":"ready"`)
			go func() { _, _ = s.get("/slow?d=1m") }()
			s.await("the request to be in flight", func() bool {
				body, err := s.get("/metrics")
				return err == nil && strings.Contains(body, "covetpy_active_connections 2")
			})
			begun := time.Now()
			for _, sig := range signals {
				s.signal(sig)
				s.awaitLog(`"message":"stopping"`)
			}
			if code := s.exitCode(); code != 3 {
				t.Errorf("exit status %d, want the one for ErrForced", code)
			}
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			s.awaitLog("store-stop")
		})
	}
}

func TestLiveBeforeComponentsAndRequestsHeld(t *testing.T) {
	t.Parallel()
	s := startService(t, "TEST_SLOW_WORKERS_START=700ms") // returns once /health/live answers
	if strings.Contains(s.log.String(), `"message":"ready"`) {
		t.Fatal("live was answered only after ready")
	}
	resp, err := http.Get("http://" + s.addr + "/health/ready")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready answers %d while starting", resp.StatusCode)
	}
	if body, err := s.get("/pid"); err != nil || body == "" {
		t.Errorf("a request before the start was not held: %q, %v", body, err)
	}
	if !strings.Contains(s.log.String(), `"message":"workers_start"`) {
		t.Error("it was answered before the components started")
	}
}

func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	s := startService(t, "TEST_SLOW_WORKERS_START=1m")
	s.awaitLog("workers_start")
	begun := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
	s.awaitLog("store-stop")
}

func TestReloadReopensLogAndDropsNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log", "service.log")
	s := startService(t, "LOG_FILE="+file)
	c := &http.Client{Transport: &http.Transport{}}
	first, err := getBody(c, "http://"+s.addr+"/pid")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.await("the new log file", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "a reload succeeded")
	})
	if again, err := getBody(c, "http://"+s.addr+"/pid"); err != nil || again != first {
		t.Errorf("after the reload: %q, %v", again, err)
	}
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if !strings.Contains(string(text), `"path":"/pid"`) {
		t.Error("the access log was not flushed at the end")
	}
}

func TestWebSocketClosedGoingAway(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.awaitLog(`"message":"ready"`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.Read(ctx); err != nil || string(text) != "hello" {
		t.Fatalf("%q, %v", text, err)
	}
	s.signal(syscall.SIGTERM)
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v, want 1001", err)
	}
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestAdminSocket(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.awaitLog(`"message":"ready"`)
	info, err := os.Lstat(filepath.Join(s.dir, "covetd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o660 {
		t.Errorf("mode %o, want 660", mode)
	}
	body, err := getBody(s.adminClient(), "http://admin/")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(body, " true ") {
		t.Errorf("peer credentials: %q", body)
	}
	second := startServiceNoWait(t, s.dir)
	if out := second(); !strings.Contains(out, "another process is serving it") {
		t.Errorf("a second service on the same socket says %q", out)
	}
}

func TestListenFailureNamesTheWayOut(t *testing.T) {
	t.Parallel()
	s := startService(t)
	cfg := config.Config{Listen: s.addr, DataDir: t.TempDir()}
	other, err := New(cfg, WithLogOutput(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	err = other.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("error %v", err)
	}
}

func getBody(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// sdSocket is a systemd that writes down what it is told.
func sdSocket(t *testing.T, name string) func() string {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told strings.Builder
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			told.Write(append(buf[:n:n], '\n'))
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = c.Close() })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return told.String()
	}
}

func TestNotifiesSystemd(t *testing.T) {
	t.Parallel()
	for kind, name := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": "@covet-test-" + strings.ReplaceAll(t.TempDir(), "/", "-"),
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			told := sdSocket(t, name)
			s := startService(t, "NOTIFY_SOCKET="+name, "WATCHDOG_USEC=100000", "DRAIN_DELAY=500ms")
			s.await("READY=1", func() bool { return strings.Contains(told(), "READY=1") })
			s.await("WATCHDOG=1", func() bool { return strings.Contains(told(), "WATCHDOG=1") })
			s.signal(syscall.SIGHUP)
			s.await("RELOADING=1", func() bool {
				_, after, ok := strings.Cut(told(), "RELOADING=1\nMONOTONIC_USEC=")
				return ok && strings.Contains(after, "READY=1")
			})
			s.signal(syscall.SIGTERM)
			s.exitCode()
			_, after, ok := strings.Cut(told(), "STOPPING=1")
			if !ok || !strings.Contains(after, "WATCHDOG=1") {
				t.Errorf("told while stopping: %q", told())
			}
		})
	}
}
