package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// programs is where the built programs are.
type programs struct{ covetd, covetctl, shop, tiny, book string }

var built programs

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

// runAll makes sure that the programs are there, and runs the tests over them.
func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "covet-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build puts the programs into a folder, where the servers' unprivileged user can run them: a clone may lie in its owner's home.
func build(dir string) error {
	packages := []string{"./test/e2e/tinyworker", "./test/e2e/bookworker"}
	if bin := os.Getenv("COVET_BIN"); bin == "" {
		packages = append(packages, "./cmd/covetd", "./cmd/covetctl", "./examples/shop")
	} else if err := os.CopyFS(dir, os.DirFS(bin)); err != nil {
		return fmt.Errorf("copy the programs: %w", err)
	}
	cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, packages...)...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	built = programs{
		covetd: filepath.Join(dir, "covetd"), covetctl: filepath.Join(dir, "covetctl"), shop: filepath.Join(dir, "shop"),
		tiny: filepath.Join(dir, "tinyworker"), book: filepath.Join(dir, "bookworker"),
	}
	return errors.Join(os.Chmod(dir, 0o755), os.Chmod(built.covetctl, 0o755)) // whatever the umask
}

// place is a data directory and an address, and the covetd that runs there now.
type place struct {
	t    *testing.T
	dir  string
	addr string
	url  string
	env  []string

	program string // covetd; another copy of it may be given before it is started

	cmd   *exec.Cmd
	ended chan struct{}
	exit  error
	log   logFile
}

// newPlace is a place where no covetd runs yet. What env says is given to each covetd there.
func newPlace(t *testing.T, env ...string) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "covet-e2e-") // short: a unix socket's path must fit into 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the place has been cleared
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return placeAt(t, dir, env...)
}

func placeAt(t *testing.T, dir string, env ...string) *place {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dir: dir, addr: addr, url: "http://" + addr, log: newLog(t), program: built.covetd}
	p.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SERVICE=shop", "LOG_LEVEL=info", "LOG_FORMAT=text"}, env...)
	t.Cleanup(p.clear)
	return p
}

// serving is a place where covetd serves the shop as v1.0.0.
func serving(t *testing.T, workers int, env ...string) *place {
	t.Helper()
	p := newPlace(t, append([]string{
		"APP_COMMAND=" + built.shop, "APP_VERSION=v1.0.0", fmt.Sprintf("APP_WORKERS=%d", workers), "APP_ENV=SHOP_VERSION=v1.0.0",
	}, env...)...)
	p.start()
	p.awaitReady()
	return p
}

// empty is a place where covetd runs, and serves nothing yet.
func empty(t *testing.T, env ...string) *place {
	t.Helper()
	p := newPlace(t, env...)
	p.start()
	p.await(30*time.Second, "covetd has started", func() bool { return p.get("/health/startup") == http.StatusOK })
	return p
}

// start starts covetd, and does not wait for it.
func (p *place) start(args ...string) {
	p.t.Helper()
	p.cmd = exec.Command(p.program, append([]string{"--data-dir", p.dir, "--listen", p.addr, "--env-file", ""}, args...)...)
	p.cmd.Env, p.cmd.Dir = p.env, p.dir
	p.cmd.Stdout, p.cmd.Stderr = p.log.File, p.log.File
	p.launch()
}

// launch starts the command that covetd is.
func (p *place) launch() {
	p.t.Helper()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		p.exit = cmd.Wait()
		close(ended)
	}()
}

// adopt makes the place's covetd a process that has taken over from the one that was started here.
func (p *place) adopt(pid int) {
	p.t.Helper()
	if pid == p.cmd.Process.Pid {
		return
	}
	<-p.ended
	process, err := os.FindProcess(pid)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = &exec.Cmd{Process: process}
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		for syscall.Kill(pid, 0) == nil { // it is no child of ours: it can only be asked for
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// clear kills what is left of a place, and fails the test when covetd did not end its own.
func (p *place) clear() {
	if p.t.Failed() {
		p.t.Logf("covetd's log:\n%s", p.log.tail(150))
	}
	for _, pid := range covetdsOf(p.dir) {
		kill(p.t, pid)
	}
	if p.ended != nil {
		<-p.ended
	}
	p.await(10*time.Second, "every covetd is gone", func() bool { return len(covetdsOf(p.dir)) == 0 })
	p.awaitNoWorkers(10 * time.Second)
}

func (p *place) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal covetd: %v", err)
	}
}

// kill ends covetd with no chance to say good-bye.
func (p *place) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// awaitEnd waits for covetd to end, and returns its exit status.
func (p *place) awaitEnd(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("covetd has not ended within %s\n%s", within, p.log.tail(50))
	}
	return p.cmd.ProcessState.ExitCode()
}

// awaitReady waits until covetd serves.
func (p *place) awaitReady() {
	p.t.Helper()
	p.await(60*time.Second, "covetd is ready", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("covetd ended: %v\n%s", p.exit, p.log.tail(50))
		default:
		}
		return p.get("/health/ready") == http.StatusOK
	})
}

// get is the status of one request's answer, 0 where there is none.
func (p *place) get(path string) int {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Get(p.url + path)
	if err != nil {
		return 0
	}
	if err := resp.Body.Close(); err != nil {
		return 0
	}
	return resp.StatusCode
}

// await waits for a condition.
func (p *place) await(within time.Duration, what string, holds func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			p.t.Fatalf("after %s it is still not so that %s\n%s", within, what, p.log.tail(80))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// answer is what a run of covetctl came back with.
type answer struct {
	code int
	out  string // standard output
	err  string // standard error
}

func (a answer) String() string { return fmt.Sprintf("exit %d\n%s%s", a.code, a.out, a.err) }

// says reports whether all of the words are in what was printed.
func (a answer) says(words ...string) bool {
	for _, w := range words {
		if !strings.Contains(a.out+a.err, w) {
			return false
		}
	}
	return true
}

// run runs covetctl against the place.
func (p *place) run(args ...string) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, built.covetctl, append([]string{"--data-dir", p.dir}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "NO_COLOR=1"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		p.t.Errorf("covetctl %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return answer{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// must runs covetctl and expects an exit status.
func (p *place) must(code int, args ...string) answer {
	p.t.Helper()
	a := p.run(args...)
	if a.code != code {
		p.t.Fatalf("covetctl %s: exit %d, want %d\n%s%s", strings.Join(args, " "), a.code, code, a.out, a.err)
	}
	return a
}

// shop records a release of the shop with the faults given as NAME=VALUE, and flags as they are.
func (p *place) shop(version string, instances int, more ...string) {
	p.t.Helper()
	args := []string{"release", "add", version, "--instances", fmt.Sprint(instances), "--env", "SHOP_VERSION=" + version}
	for _, m := range more {
		if strings.HasPrefix(m, "--") {
			args = append(args, m)
		} else {
			args = append(args, "--env", m)
		}
	}
	p.must(0, append(args, "--", built.shop)...)
}

// status is what covetctl says of the service.
func (p *place) status() console.Status {
	p.t.Helper()
	return decode[console.Status](p.t, p.must(0, "status", "-o", "json"))
}

// trying is the status, or an answer that it cannot be had just now.
func (p *place) trying() (console.Status, bool) {
	var st console.Status
	a := p.run("status", "-o", "json")
	return st, a.code == 0 && json.Unmarshal([]byte(a.out), &st) == nil
}

func (p *place) history() []rollout.Rollout {
	p.t.Helper()
	return decode[[]rollout.Rollout](p.t, p.must(0, "rollout", "history", "-n", "1000", "-o", "json"))
}

func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.out), &v); err != nil {
		t.Fatalf("covetctl's JSON: %v\n%s", err, a.out)
	}
	return v
}

// logFile is what covetd and its successors print to: a file, since a pipe would end with whoever reads it.
type logFile struct{ *os.File }

func newLog(t *testing.T) logFile {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "covetd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return logFile{f}
}

func (l logFile) String() string {
	raw, err := os.ReadFile(l.Name())
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// tail is the end of the log, without the lines about single requests.
func (l logFile) tail(n int) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimRight(l.String(), "\n"), "\n"), func(line string) bool {
		return strings.Contains(line, "logger=access")
	})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
