package server

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestUnixSocketReplacesStaleOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "admin.sock")
	first, err := listenUnix(t.Context(), adminSocket, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(t.Context(), adminSocket, path); err == nil || !strings.Contains(err.Error(), "another process is serving") {
		t.Errorf("beside a living one: %v", err)
	}
	if err := syscall.Close(first.fd); err != nil { // as after kill -9: the file stays
		t.Fatal(err)
	}
	second, err := listenUnix(t.Context(), adminSocket, path)
	if err != nil {
		t.Fatalf("over a stale file: %v", err)
	}
	if err := second.close(true); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(t.Context(), adminSocket, path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a plain file: %v", err)
	}
}

func TestUnixSocketRace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []*socket
	for range 8 {
		wg.Go(func() {
			s, err := listenUnix(t.Context(), adminSocket, path)
			if err != nil {
				return
			}
			mu.Lock()
			won = append(won, s)
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d processes own the socket", len(won))
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the winner's socket: %v", err)
	} else {
		_ = c.Close()
	}
	if err := won[0].close(true); err != nil {
		t.Error(err)
	}
}

// A file that somebody else has put in place of ours is not ours to remove.
func TestUnixSocketLeavesForeignFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	s, err := listenUnix(t.Context(), adminSocket, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.close(true); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the foreign file is gone: %v", err)
	}
}

// The shell stands in for systemd: it passes the sockets as 3 and 4, and exec keeps the process id.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "activated.sock")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	files := make([]*os.File, 0, 2)
	for _, l := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), unix.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	s := startActivated(t, tcp.Addr().String(), files)
	if body, err := s.get("/pid"); err != nil || body != fmt.Sprint(s.cmd.Process.Pid) {
		t.Errorf("%q, %v", body, err)
	}
	s.awaitLog(`"message":"ready"`)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("systemd's socket file was removed: %v", err)
	}
}
