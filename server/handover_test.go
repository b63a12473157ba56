package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// load sends requests over kept-alive connections until it is stopped.
type load struct {
	stop     context.CancelFunc
	wg       sync.WaitGroup
	sent     atomic.Int64
	failed   atomic.Int64
	refused  atomic.Int64
	tolerate func(error) bool // failures that are none; nil: there are none such
	mu       sync.Mutex
	pids     map[string]int
	first    error
}

func startLoad(t *testing.T, addr string, clients int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel, pids: map[string]int{}}
	for i := range clients {
		l.wg.Go(func() { l.client(ctx, addr, i) })
	}
	return l
}

func (l *load) client(ctx context.Context, addr string, i int) {
	// Requests with a body that cannot be rewound are never retried by net/http: every failure shows.
	l.ask(ctx, &http.Client{Transport: &http.Transport{}}, "http://"+addr, i, func() io.Reader { return io.NopCloser(strings.NewReader("x")) })
}

// ask sends one request after another, i milliseconds apart.
func (l *load) ask(ctx context.Context, c *http.Client, base string, i int, body func() io.Reader) {
	for ctx.Err() == nil {
		req, err := http.NewRequest(http.MethodGet, base+"/pid", body())
		if err != nil {
			l.fail(err)
			return
		}
		l.sent.Add(1)
		resp, err := c.Do(req)
		if err != nil {
			l.fail(err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			l.fail(fmt.Errorf("status %d: %w", resp.StatusCode, err))
			continue
		}
		l.mu.Lock()
		l.pids[string(body)]++
		l.mu.Unlock()
		time.Sleep(time.Duration(i) * time.Millisecond)
	}
}

func (l *load) fail(err error) {
	if l.tolerate != nil && l.tolerate(err) {
		l.refused.Add(1)
		time.Sleep(10 * time.Millisecond)
		return
	}
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = err
	}
}

func (l *load) served(pid int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pids[fmt.Sprint(pid)]
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	t.Logf("sent %d requests, %d failed, %d refused", l.sent.Load(), l.failed.Load(), l.refused.Load())
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed; the first: %v", n, l.sent.Load(), l.first)
	}
}

func TestHandOverUnderLoadFailsNothing(t *testing.T) {
	t.Parallel()
	s := startService(t, "HANDOVER_DRAIN=1m")
	s.awaitLog(`"message":"ready"`)
	traffic := startLoad(t, s.addr, 8)
	s.await("traffic", func() bool { return traffic.served(s.cmd.Process.Pid) > 100 })

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	downloaded := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.addr + "/download?n=1500")
		if err != nil {
			downloaded <- err
			return
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err == nil && n != 1500*1024 {
			err = fmt.Errorf("%d bytes", n)
		}
		downloaded <- err
	}()

	s.signal(syscall.SIGUSR2)
	s.await("the new process to serve", func() bool { return s.successor() != 0 && traffic.served(s.successor()) > 100 })
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want 1001", err)
	}
	if err := <-downloaded; err != nil {
		t.Errorf("the download that spans the hand-over: %v", err)
	}
	if code := s.exitCode(); code != 0 {
		t.Errorf("the old process exits with %d", code)
	}
	traffic.end(t)

	body, err := getBody(s.adminClient(), "http://admin/")
	if err != nil || !strings.HasPrefix(body, fmt.Sprint(s.successor())) {
		t.Errorf("the operations socket after the hand-over: %q, %v", body, err)
	}
	if strings.Contains(s.log.String(), "cut a request") {
		t.Error("something was cut")
	}
	order := s.log.String()
	released, started := strings.Index(order, "store-release"), strings.LastIndex(order, "store-start")
	if released < 0 || started < released {
		t.Error("the new process started its components before the old one released its own")
	}
	endSuccessor(s)
	if _, err := os.Lstat(filepath.Join(s.dir, "covetd.sock")); !os.IsNotExist(err) {
		t.Errorf("the operations socket outlives the last process: %v", err)
	}
}

// endSuccessor stops the process that took over, and waits until it is gone.
func endSuccessor(s *service) {
	s.t.Helper()
	pid := s.successor()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.await("the new process to end", func() bool { return gone(pid) })
}

// gone says whether a process that is nobody's child here has ended; a zombie has.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestHandOverAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.awaitLog(`"message":"ready"`)
	traffic := startLoad(t, s.addr, 4)
	pid := s.cmd.Process.Pid
	for range 3 {
		before := pid
		if err := syscall.Kill(before, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		s.await("another process to answer", func() bool {
			body, err := getBody(s.adminClient(), "http://admin/")
			if err != nil {
				return false
			}
			_, err = fmt.Sscan(body, &pid)
			return err == nil && pid != before
		})
		s.await("the process before to end", func() bool { return gone(before) })
	}
	traffic.end(t)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await("the last process to end", func() bool { return gone(pid) })
}

func TestHandOverFailureKeepsServing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ env, says string }{
		"the new process dies":           {"TEST_DIE_SECOND=1", "ended before it was ready: exit status 1"},
		"the new process is never ready": {"TEST_UNREADY_SECOND=1", "not ready within 1.5s (HANDOVER_TIMEOUT)"},
		"its components fail to start":   {"TEST_FAIL_SECOND=1", "start failing: no luck"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startService(t, c.env, "HANDOVER_TIMEOUT=1500ms")
			s.awaitLog(`"message":"ready"`)
			traffic := startLoad(t, s.addr, 4)
			s.signal(syscall.SIGUSR2)
			s.awaitLog("a hand-over failed; serving on as before")
			if !strings.Contains(s.log.String(), c.says) {
				t.Errorf("the log does not say %q", c.says)
			}
			if pid := s.successor(); !gone(pid) {
				t.Errorf("the new process %d is still there", pid)
			}
			released := strings.Count(s.log.String(), "-release")
			reclaimed := strings.Count(s.log.String(), "-reclaim")
			if released != reclaimed {
				t.Errorf("%d components released, %d reclaimed", released, reclaimed)
			}
			traffic.end(t)
			body, err := getBody(s.adminClient(), "http://admin/")
			if err != nil || !strings.HasPrefix(body, fmt.Sprint(s.cmd.Process.Pid)) {
				t.Errorf("the operations socket: %q, %v", body, err)
			}
			s.signal(syscall.SIGTERM)
			if code := s.exitCode(); code != 0 {
				t.Errorf("exit status %d", code)
			}
		})
	}
}

func TestHandOverEndsEventStreams(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.awaitLog(`"message":"ready"`)
	resp, err := s.adminClient().Get("http://admin/events")
	if err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGUSR2)
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, resp.Body); ended <- err }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the stream ended with %v, want a clean end", err)
		}
	case <-time.After(time.Minute):
		t.Error("the stream of the old process goes on")
	}
	_ = resp.Body.Close()
	s.exitCode()
	endSuccessor(s)
}

func TestStopDuringHandOver(t *testing.T) {
	t.Parallel()
	for sig, want := range map[syscall.Signal]int{syscall.SIGTERM: 0, syscall.SIGQUIT: 3} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := startService(t, "TEST_UNREADY_SECOND=1")
			s.awaitLog(`"message":"ready"`)
			s.signal(syscall.SIGUSR2)
			s.awaitLog("store-release")
			s.await("the new process to start", func() bool { return strings.Count(s.log.String(), "workers_start") == 2 })
			s.signal(sig)
			if code := s.exitCode(); code != want {
				t.Errorf("exit status %d, want %d", code, want)
			}
			if pid := s.successor(); !gone(pid) {
				t.Errorf("the new process %d outlives the old one", pid)
			}
		})
	}
}

func TestPredecessorKilledDuringHandOver(t *testing.T) {
	t.Parallel()
	s := startService(t, "TEST_SLOW_STORE-RELEASE=1m")
	s.awaitLog(`"message":"ready"`)
	s.signal(syscall.SIGUSR2)
	s.awaitLog("store-release")
	s.signal(syscall.SIGKILL)
	s.exitCode()
	s.await("the new process to serve in spite of it", func() bool {
		body, err := s.get("/pid")
		return err == nil && body == fmt.Sprint(s.successor())
	})
	endSuccessor(s)
}

func TestHandOverNamesTheNewMainProcess(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "notify")
	told := sdSocket(t, name)
	s := startService(t, "NOTIFY_SOCKET="+name)
	s.awaitLog(`"message":"ready"`)
	s.signal(syscall.SIGUSR2)
	s.exitCode()
	main := fmt.Sprintf("MAINPID=%d", s.successor())
	s.await(main, func() bool { return strings.Contains(told(), main+"\nREADY=1") })
	if strings.Contains(told(), "STOPPING=1") {
		t.Error("systemd was told that the service stops")
	}
	endSuccessor(s)
}
