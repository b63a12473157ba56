package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/covetpy/covet/test/vterm"
)

// session is a program that runs in a terminal of its own.
type session struct {
	cmd    *exec.Cmd
	pty    *os.File
	screen *vterm.Screen
	began  time.Time

	mu    sync.Mutex
	heard chan struct{} // closed when something was written
	ended bool
}

// open starts a program in a terminal of w columns and h rows.
func open(w, h int, env []string, program string, args ...string) (*session, error) {
	master, slave, err := openPTY(w, h)
	if err != nil {
		return nil, err
	}
	defer func() { _ = slave.Close() }() // the program has its own
	s := &session{cmd: exec.Command(program, args...), pty: master, screen: vterm.New(w, h), heard: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.Env = append(os.Environ(), append([]string{"TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8"}, env...)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go s.read()
	return s, nil
}

func openPTY(w, h int) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("name the terminal: %w", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(h), Col: uint16(w)}); err != nil {
		return nil, nil, fmt.Errorf("size the terminal: %w", err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return master, slave, err
}

func (s *session) read() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.pty.Read(buffer)
		_, _ = s.screen.Write(buffer[:n])
		s.mu.Lock()
		close(s.heard)
		s.heard, s.ended = make(chan struct{}), err != nil
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await returns when the screen is as it should be, with the time since since.
func (s *session) await(since time.Time, within time.Duration, ok func() bool) (time.Duration, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		s.mu.Lock()
		heard, ended := s.heard, s.ended
		s.mu.Unlock()
		if ok() {
			return time.Since(since), nil
		}
		if ended {
			return 0, fmt.Errorf("%s ended:\n%s", s.cmd.Path, s.screen.Text())
		}
		select {
		case <-heard:
		case <-late.C:
			return 0, fmt.Errorf("%s does not show it within %v:\n%s", s.cmd.Path, within, s.screen.Text())
		}
	}
}

func (s *session) press(keys string) error {
	_, err := s.pty.WriteString(keys)
	return err
}

// close ends the program.
func (s *session) close() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	killed := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait() // by a signal, which is no news
	killed.Stop()
	_ = s.pty.Close()
}
