package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// crew is the processes of a cluster. Each writes to DIR/NAME.log, and dies with the thread that started it.
type crew struct {
	dir string
	mu  sync.Mutex
	all map[string]*member
	ask chan func() // run on the one thread that starts processes
}

type member struct {
	name  string
	args  []string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

func newCrew(dir string) *crew {
	return &crew{dir: dir, all: map[string]*member{}, ask: make(chan func())}
}

// serve starts processes for the others; it must be called on a locked thread that lives as long as the processes should.
func (c *crew) serve() {
	for f := range c.ask {
		f()
	}
}

// start runs a program under a name; where args[0] is empty, this program's component of that name.
func (c *crew) start(name string, args ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.all[name]; m != nil && m.alive() {
		return fmt.Errorf("%s runs already", name)
	}
	m := &member{name: name, args: args, ended: make(chan struct{})}
	started := make(chan error)
	c.ask <- func() { started <- m.run(c.dir) }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.all[name] = m
	return nil
}

func (m *member) run(dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	program := m.args[0]
	args := m.args[1:]
	if program == "" {
		program, args = "/proc/self/exe", append([]string{m.name}, args...)
	}
	m.cmd = exec.Command(program, args...)
	m.cmd.Stdout, m.cmd.Stderr, m.cmd.Dir = log, log, dir
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = m.cmd.Wait() // how it ended is in its log
		close(m.ended)
	}()
	return nil
}

func (m *member) alive() bool {
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// signal sends a signal to a member.
func (c *crew) signal(name string, sig syscall.Signal) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return m.cmd.Process.Signal(sig)
}

func (c *crew) member(name string) (*member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.all[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("there is no %s", name)
}

// stop ends a member and waits for its end.
func (c *crew) stop(name string, sig syscall.Signal) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	if err := m.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.ended:
	case <-time.After(10 * time.Second):
		_ = m.cmd.Process.Kill() // it may have ended just now
		<-m.ended
	}
	return nil
}

// restart starts a member again as it was.
func (c *crew) restart(name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return c.start(name, m.args...)
}

// fallen is the first member of names that has ended by itself, with the end of its log.
func (c *crew) fallen(names ...string) error {
	for _, n := range names {
		if m, err := c.member(n); err == nil && !m.alive() {
			return fmt.Errorf("%s has ended; it said: %s", n, c.lastWords(n))
		}
	}
	return nil
}

func (c *crew) lastWords(name string) string {
	text, err := os.ReadFile(filepath.Join(c.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// end kills all of them.
func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.all {
		_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	}
	for _, m := range c.all {
		<-m.ended
	}
}
