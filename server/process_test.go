package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/covetpy/covet/server/config"
)

// serviceEnv makes the test binary run as a service instead of running tests.
const serviceEnv = "COVET_TEST_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(serviceEnv) != "" {
		os.Exit(runTestService())
	}
	os.Exit(m.Run())
}

// runTestService is a small service whose behaviour the environment chooses.
func runTestService() int {
	cfg, _, err := config.Load(config.Sources{Environ: os.Environ(), Overrides: map[string]string{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	s, err := New(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := testService(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = s.Run(context.Background())
	switch {
	case errors.Is(err, ErrForced):
		return 3
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// wasHandedOver reads the environment before Run removes it.
func wasHandedOver() bool { return os.Getenv(HandoverVariable) != "" }

func testService(s *Server) error {
	second := wasHandedOver()
	if second && os.Getenv("TEST_DIE_SECOND") != "" {
		return errors.New("the second one dies at once")
	}
	log := s.Logger("test")
	phase := func(what string) func(context.Context) error {
		return func(ctx context.Context) error {
			log.Info(what)
			if d, err := time.ParseDuration(os.Getenv("TEST_SLOW_" + strings.ToUpper(what))); err == nil {
				select {
				case <-time.After(d):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}
	}
	s.Component(Component{Name: "store", Start: phase("store-start"), Stop: phase("store-stop"),
		Release: phase("store-release"), Reclaim: phase("store-reclaim"), Reload: phase("store-reload")})
	s.Component(Component{Name: "workers", Start: phase("workers_start"), Stop: phase("workers-stop"), Release: phase("workers-release"), Reclaim: phase("workers-reclaim")})
	s.Component(Component{Name: "failing", Start: func(context.Context) error {
		if second && os.Getenv("TEST_FAIL_SECOND") != "" {
			return errors.New("no luck")
		}
		return nil
	}})
	s.Health().Register(Check{Name: "second", Required: true, Run: func(context.Context) error {
		if second && os.Getenv("TEST_UNREADY_SECOND") != "" {
			return errors.New("never ready")
		}
		return nil
	}})
	sockets := &socketFeed{open: map[*websocket.Conn]struct{}{}}
	s.OnDrain(sockets.close)
	s.Router().Get("/pid", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strconv.Itoa(os.Getpid())) })
	s.Router().Get("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("d"))
		select {
		case <-time.After(d):
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	})
	s.Router().Get("/download", download)
	s.Router().Get("/ws", sockets.serve)
	s.AdminHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		p, ok := PeerFrom(r.Context())
		_, _ = fmt.Fprintf(w, "%d %v %d", os.Getpid(), ok && p.UID == os.Geteuid(), p.PID)
	}))
	return nil
}

// download sends n chunks of a kilobyte, a millisecond apart.
func download(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	w.Header().Set("Content-Length", strconv.Itoa(n*1024))
	chunk := bytes.Repeat([]byte("x"), 1024)
	for range n {
		if _, err := w.Write(chunk); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		time.Sleep(time.Millisecond)
	}
}

// socketFeed echoes WebSocket messages and says goodbye with 1001.
type socketFeed struct {
	mu   sync.Mutex
	open map[*websocket.Conn]struct{}
}

func (f *socketFeed) serve(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.open[c] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.open, c)
		f.mu.Unlock()
		_ = c.CloseNow()
	}()
	for {
		kind, text, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, text); err != nil {
			return
		}
	}
}

func (f *socketFeed) close(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		go func() { _ = c.Close(websocket.StatusGoingAway, "restarting") }()
	}
}

// service is a process under test.
type service struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *logBuffer
	addr string
	dir  string
	exit chan struct{}
}

// logBuffer collects what processes print.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startService runs the test binary as a service on a free port and waits until it answers.
func startService(t *testing.T, env ...string) *service {
	t.Helper()
	return start(t, exec.Command(os.Args[0]), freeAddr(t), env)
}

// startActivated runs it with listening sockets passed as systemd does.
func startActivated(t *testing.T, addr string, sockets []*os.File) *service {
	t.Helper()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 exec "$0"`, os.Args[0])
	cmd.ExtraFiles = sockets
	return start(t, cmd, addr, nil)
}

func start(t *testing.T, cmd *exec.Cmd, addr string, env []string) *service {
	t.Helper()
	s := &service{t: t, cmd: cmd, dir: t.TempDir(), log: &logBuffer{}, addr: addr, exit: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), serviceEnv+"=1", "LISTEN="+s.addr, "DATA_DIR="+s.dir, "LOG_FORMAT=json", "DRAIN_DELAY=0", "IDLE_GRACE=300ms")
	s.cmd.Env = append(s.cmd.Env, env...)
	// A pipe of our own: os/exec would wait for every process of a hand-over to close its end.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	copied := make(chan struct{})
	go func() { defer close(copied); _, _ = io.Copy(s.log, bufio.NewReader(r)) }()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	go func() { _ = s.cmd.Wait(); close(s.exit) }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		if pid := s.successor(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-copied
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	s.await("it to answer", func() bool {
		client, scheme := http.DefaultClient, "http://"
		if strings.Contains(strings.Join(env, " "), "TLS_CERT_FILE=") {
			client, scheme = secureClient(false), "https://"
			defer client.CloseIdleConnections()
		}
		resp, err := client.Get(scheme + s.addr + "/health/live")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// successor is the process that was handed over to, from the log.
func (s *service) successor() int {
	_, after, ok := strings.Cut(s.log.String(), `"message":"handing over"`)
	if !ok {
		return 0
	}
	_, after, _ = strings.Cut(after, `"pid":`)
	pid, _ := strconv.Atoi(after[:strings.IndexAny(after, ",}")])
	return pid
}

func (s *service) await(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("timed out waiting for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *service) awaitLog(text string) {
	s.t.Helper()
	s.await(fmt.Sprintf("the log to say %q", text), func() bool { return strings.Contains(s.log.String(), text) })
}

func (s *service) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// exitCode waits for the first process to end.
func (s *service) exitCode() int {
	s.t.Helper()
	select {
	case <-s.exit:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(90 * time.Second):
		s.t.Fatal("the process does not end")
		return -1
	}
}

func (s *service) get(path string) (string, error) {
	resp, err := http.Get("http://" + s.addr + path)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

// adminClient talks to the operations socket.
func (s *service) adminClient() *http.Client {
	path := filepath.Join(s.dir, "covetd.sock")
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
}

// startServiceNoWait runs a service on the state of another; the function it returns waits for its end and returns what
// it printed.
func startServiceNoWait(t *testing.T, dir string) func() string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serviceEnv+"=1", "LISTEN="+freeAddr(t), "DATA_DIR="+dir)
	return func() string {
		out, _ := cmd.CombinedOutput() // its status is not what is asked
		return string(out)
	}
}
