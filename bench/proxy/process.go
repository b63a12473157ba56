package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a started worker or proxy.
type process struct {
	name    string
	addr    string
	path    string   // what it is asked for
	headers []string // and with what
	cmd     *exec.Cmd
	log     bytes.Buffer
	done    chan struct{} // closed when it has exited
}

func startWorker(ctx context.Context, dir string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := contender{name: "worker", command: func(ctx context.Context, _, listen, _ string) (*exec.Cmd, error) {
		return exec.CommandContext(ctx, self, "worker", listen), nil
	}}
	return c.start(ctx, dir, "")
}

// start starts the contender on a free port in a folder of its own and waits until it answers.
func (c contender) start(ctx context.Context, dir, worker string) (*process, error) {
	if c.path == "" {
		c.path = "/1024"
	}
	dir = filepath.Join(dir, c.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p := &process{name: c.name, addr: addr, path: c.path, headers: c.headers, done: make(chan struct{})}
	if p.cmd, err = c.command(ctx, dir, addr, worker); err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// A group of its own, so that its children can be stopped with it; and it must not outlive this program.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) }
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is told by its log
	}()
	if err := p.awaitAnswer(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s does not answer: %w; it said: %s", c.name, err, p.log.String())
	}
	return p, nil
}

// freeAddr finds a loopback port that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *process) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := probe(ctx, "http://"+p.addr+p.path, p.headers)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("it exited")
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func probe(ctx context.Context, url string, headers []string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

func (p *process) stop() {
	// Whatever is left of the group is ended; that it is gone already is no error.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// cpu is the user and system time that the process and its children have taken.
func (p *process) cpu() (time.Duration, error) {
	return treeCPU(p.cmd.Process.Pid)
}

func treeCPU(pid int) (time.Duration, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0, err
	}
	total, err := parseStat(string(stat))
	if err != nil {
		return 0, fmt.Errorf("%s/stat: %w", dir, err)
	}
	lists, err := filepath.Glob(dir + "/task/*/children")
	if err != nil {
		return 0, err
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			return 0, err
		}
		for child := range strings.FieldsSeq(string(children)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", list, err)
			}
			t, err := treeCPU(n)
			if err != nil {
				return 0, err
			}
			total += t
		}
	}
	return total, nil
}

// parseStat returns utime and stime of proc(5), fields 14 and 15 in hundredths of a second. The second field, the
// command's name, may hold spaces and brackets.
func parseStat(stat string) (time.Duration, error) {
	_, rest, ok := cutLast(stat, ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("not in the form of proc(5)")
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
