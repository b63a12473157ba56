package adminclient

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/covetpy/covet/ops/console"
)

func ask(t *testing.T, socket string) error {
	t.Helper()
	return New(socket).Ask(t.Context(), console.GetStatus, console.Query{}, new(console.Status))
}

func TestMissingSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	wantError(t, ask(t, socket), console.CodeUnreachable, "covetd is not running: there is no socket at "+socket, "start it with `covetd`", "--socket")
	for _, err := range New(socket).Watch(t.Context(), 0) {
		wantError(t, err, console.CodeUnreachable, "there is no socket at "+socket)
	}
}

func TestSocketLeftBehind(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, ask(t, socket), console.CodeUnreachable, "nobody listens on "+socket, "start it with `covetd`")
}

func TestSocketPathTooLong(t *testing.T) {
	t.Parallel()
	wantError(t, ask(t, "/tmp/"+strings.Repeat("x", maxSocketPath)), console.CodeUnreachable, "has 112 bytes", "shorter")
}

// TestBarredHelper is run by TestBarred as another user; alone it does nothing.
func TestBarredHelper(t *testing.T) {
	socket := os.Getenv("ADMINCLIENT_BARRED")
	if socket == "" {
		return
	}
	if err := ask(t, socket); err != nil {
		t.Log(err)
	}
}

func TestBarred(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can ask as somebody else")
	}
	dir, err := os.MkdirTemp("", "adminclient")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	self := filepath.Join(dir, "test")
	if err := copyProgram(self); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "run")
	socket := filepath.Join(inside, "s.sock")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	serve(t, socket, backend{})
	const daemon = 1 // the group of that number is on every system
	cases := []struct {
		dir, socket os.FileMode
		gid         int
		says        []string
	}{
		{0o755, 0o660, daemon, []string{"you may not use covetd's socket " + socket, "user root and group daemon", "usermod -aG daemon"}},
		{0o755, 0o660, 0, []string{"user root and group root", "only root may"}},
		{0o755, 0o600, daemon, []string{"Srw-------", "only root may"}},
		{0o750, 0o666, daemon, []string{inside + " is drwxr-x---", "usermod -aG daemon"}},
	}
	for _, tc := range cases {
		for path, mode := range map[string]os.FileMode{dir: 0o755, inside: tc.dir, socket: tc.socket} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, 0, tc.gid); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestBarredHelper$", "-test.v")
		cmd.Env = append(os.Environ(), "ADMINCLIENT_BARRED="+socket)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, want := range tc.says {
			if !strings.Contains(string(out), want) {
				t.Errorf("folder %o, socket %o: %s does not say %q", tc.dir, tc.socket, out, want)
			}
		}
	}
}

func copyProgram(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o755)
}
