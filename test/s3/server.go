// Package s3test starts a real S3 server for tests: versitygw, at the version that tools/s3/go.mod holds.
package s3test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Credentials of the server's root account.
const (
	AccessKey = "covettest"
	SecretKey = "covettest-secret"
)

// Server is a running S3 server with its objects in a temporary directory.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT, or https
	Port     int
	CAFile   string // of a server with TLS: the PEM file to trust
	root     string
	versions string   // where versions are kept; empty: nowhere
	options  []string // of the program, besides those that all have
	cmd      *exec.Cmd
	down     func()
}

// Start runs a server until the test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{Port: freePort(tb), root: tb.TempDir()}
	s.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", s.Port)
	s.run(tb)
	return s
}

// StartTLS is Start for a server that speaks TLS, with a certificate for localhost.
func StartTLS(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{Port: freePort(tb), root: tb.TempDir()}
	s.Endpoint = fmt.Sprintf("https://localhost:%d", s.Port)
	var key string
	s.CAFile, key = certificate(tb)
	s.run(tb, "--cert", s.CAFile, "--key", key)
	return s
}

// StartAccounts is Start for a server with accounts besides its root's, each of which may do everything.
func StartAccounts(tb testing.TB, accounts ...string) *Server {
	tb.Helper()
	s := &Server{Port: freePort(tb), root: tb.TempDir()}
	s.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", s.Port)
	s.run(tb, "--iam-dir", tb.TempDir())
	for _, a := range accounts {
		out, err := exec.Command(binary(tb), "admin", "--access", AccessKey, "--secret", SecretKey, "--endpoint-url", s.Endpoint,
			"create-user", "--access", a, "--secret", SecretOf(a), "--role", "admin").CombinedOutput()
		if err != nil {
			tb.Fatalf("make account %s: %v\n%s", a, err, out)
		}
	}
	return s
}

// StartVersioned is Start for a server that keeps versions, as object lock needs.
func StartVersioned(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{Port: freePort(tb), root: tb.TempDir(), versions: tb.TempDir()}
	s.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", s.Port)
	s.run(tb)
	return s
}

// SecretOf is the secret key of an account.
func SecretOf(account string) string { return account + "-secret" }

// run starts the program, and waits until it answers.
func (s *Server) run(tb testing.TB, more ...string) {
	tb.Helper()
	s.options = more
	bin := binary(tb)
	args := append([]string{"--port", fmt.Sprintf("127.0.0.1:%d", s.Port), "--access", AccessKey, "--secret", SecretKey, "--quiet", "--keep-alive"}, more...)
	args = append(args, "posix")
	if s.versions != "" {
		args = append(args, "--versioning-dir", s.versions)
	}
	s.cmd = exec.Command(bin, append(args, s.root)...)
	log, err := os.Create(filepath.Join(tb.TempDir(), "versitygw.log"))
	if err != nil {
		tb.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The parent-death signal follows the thread that started the child, so that thread must live on.
	started := make(chan error)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		started <- s.cmd.Start()
		go func() {
			_ = s.cmd.Wait() // it is killed at the end
			close(ended)
		}()
		<-stop
	}()
	if err := <-started; err != nil {
		tb.Fatalf("start %s: %v", bin, err)
	}
	s.down = sync.OnceFunc(func() {
		_ = s.cmd.Process.Kill() // fails only where it has died already
		<-ended
		close(stop)
		_ = log.Close()
	})
	tb.Cleanup(s.down)
	s.wait(tb, log.Name())
}

// Halt ends the server until Resume.
func (s *Server) Halt() { s.down() }

// Resume starts a server that was halted, at the same address with the same objects.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	s.run(tb, s.options...)
}

// wait returns when the server answers.
func (s *Server) wait(tb testing.TB, log string) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		if err == nil {
			_ = c.Close()
			return
		}
	}
	text, err := os.ReadFile(log)
	tb.Fatalf("the S3 server did not answer within 20 s; it said: %s (%v)", text, err)
}

// Bucket makes a new bucket and returns its name.
func (s *Server) Bucket(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp(s.root, "bucket-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Base(dir)
}

// Clear removes everything from a bucket.
func (s *Server) Clear(tb testing.TB, bucket string) {
	tb.Helper()
	entries, err := os.ReadDir(s.Path(bucket, ""))
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(s.Path(bucket, e.Name())); err != nil {
			tb.Fatal(err)
		}
	}
}

// Path is the file that holds an object, for tests that damage it.
func (s *Server) Path(bucket, key string) string { return filepath.Join(s.root, bucket, key) }

// binary builds the server once and keeps it under .cache/bin by the hash of its go.sum.
func binary(tb testing.TB) string {
	tb.Helper()
	root := moduleRoot(tb)
	sum, err := os.ReadFile(filepath.Join(root, "tools", "s3", "go.sum"))
	if err != nil {
		tb.Fatal(err)
	}
	h := sha256.Sum256(sum)
	dir := filepath.Join(root, ".cache", "bin")
	bin := filepath.Join(dir, "versitygw-"+hex.EncodeToString(h[:6]))
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	unlock := lock(tb, bin+".lock") // packages are tested at the same time: one builds, the others wait
	defer unlock()
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	tb.Logf("building the S3 server once, about a minute: %s", bin)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin+".new", "github.com/versity/versitygw/cmd/versitygw")
	cmd.Dir = filepath.Join(root, "tools", "s3")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the S3 server: %v\n%s", err, out)
	}
	if err := os.Rename(bin+".new", bin); err != nil {
		tb.Fatal(err)
	}
	return bin
}

func lock(tb testing.TB, name string) (unlock func()) {
	tb.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return func() { _ = f.Close() }
}

func moduleRoot(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tools", "s3", "go.mod")); err == nil {
			return dir
		}
	}
	tb.Fatal("tools/s3/go.mod isn't in any folder above this test")
	return ""
}

// freePort is a port that was free just now, below those that the kernel gives to connections: a server that is started again finds it free.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 50 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			_ = l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	tb.Fatal("no free port was found from 10000 to 30000")
	return 0
}
