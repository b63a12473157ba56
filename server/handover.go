package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// successor is the new process of a hand-over, seen from the old one.
type successor struct {
	process *os.Process
	line    *line
	ended   chan struct{} // closed once it is gone
	status  string        // how it ended; valid after ended
}

// handOver starts the program that is now where this one was started from, gives it the listening sockets and, once it
// is ready, returns nil: this process then only finishes its requests. If the new one is not ready in time, it is
// stopped and nothing has changed.
func (l *life) handOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.s.cfg.HandoverTimeout,
		fmt.Errorf("the new process was not ready within %v (HANDOVER_TIMEOUT)", l.s.cfg.HandoverTimeout))
	defer cancel()
	next, err := l.spawn()
	if err != nil {
		return fmt.Errorf("start the new process: %w", err)
	}
	l.log.Info("handing over", "program", l.s.executable, "pid", next.process.Pid)
	if err := next.expect(ctx, wordRelease); err != nil {
		return next.dismiss(err)
	}
	if err := l.release(ctx); err != nil {
		return l.takeBack(next, err)
	}
	if err := l.completeHandover(ctx, next); err != nil {
		return l.takeBack(next, err)
	}
	return next.line.close()
}

func (l *life) completeHandover(ctx context.Context, next *successor) error {
	if err := next.line.say(wordReleased); err != nil {
		return err
	}
	if err := next.expect(ctx, wordReady); err != nil {
		return err
	}
	// Only the main process may speak to systemd under NotifyAccess=main, so the old one names the new one.
	l.tell(fmt.Sprintf("MAINPID=%d", next.process.Pid))
	return next.line.say(wordGo)
}

// release gives up what only one process may hold: components' stores, and the operations API.
func (l *life) release(ctx context.Context) error {
	if l.admin != nil {
		l.quiesceAdmin(ctx)
	}
	return releaseHook.reversed(ctx, l.started)
}

// takeBack undoes a hand-over that failed for a reason. When this process is to exit at once there is no point in it.
func (l *life) takeBack(next *successor, why error) error {
	err := next.dismiss(why)
	if errors.Is(why, ErrForced) {
		return err
	}
	return errors.Join(err, l.reclaim())
}

// reclaim takes back what release gave up. It has a time-out of its own: the hand-over's may be what failed.
func (l *life) reclaim() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.s.cfg.ShutdownTimeout)
	defer cancel()
	_, err := reclaimHook.inOrder(ctx, l.started)
	if l.admin != nil {
		l.admin = l.newAdmin(l.admin.socket)
		err = errors.Join(err, l.admin.accept())
	}
	return err
}

// spawn starts the new process with the listening sockets as descriptors 4 and up, and the line as 3. It goes below
// os/exec, which would set the sockets to blocking mode in both processes.
func (l *life) spawn() (*successor, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, err := openLine(pair[0])
	if err != nil {
		return nil, errors.Join(err, syscall.Close(pair[1]))
	}
	files := []uintptr{0, 1, 2, uintptr(pair[1])}
	left := estate{Line: 3}
	for _, e := range []*endpoint{l.public, l.metrics, l.admin} {
		if e == nil {
			continue
		}
		left.Sockets = append(left.Sockets, estateSocket{Name: e.socket.name, FD: len(files), Address: e.socket.address})
		files = append(files, uintptr(e.socket.fd))
	}
	announced, err := json.Marshal(left)
	if err != nil {
		return nil, errors.Join(err, ours.close(), syscall.Close(pair[1]))
	}
	env := append(inheritable(os.Environ()), HandoverVariable+"="+string(announced))
	pid, err := syscall.ForkExec(l.s.executable, os.Args, &syscall.ProcAttr{Env: env, Files: files})
	if err := errors.Join(os.NewSyscallError("exec "+l.s.executable, err), syscall.Close(pair[1])); err != nil {
		return nil, errors.Join(err, ours.close())
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, errors.Join(err, ours.close())
	}
	next := &successor{process: process, line: ours, ended: make(chan struct{})}
	go next.reap()
	return next, nil
}

// inheritable is our environment without what was meant for this process alone.
func inheritable(environ []string) []string {
	out := make([]string, 0, len(environ)+1)
	for _, e := range environ {
		if name, _, _ := strings.Cut(e, "="); name != HandoverVariable && name != "WATCHDOG_PID" {
			out = append(out, e)
		}
	}
	return out
}

func (n *successor) reap() {
	defer close(n.ended)
	state, err := n.process.Wait()
	if err != nil { // somebody else in this process reaps children, or it is none of ours any more
		n.status = err.Error()
		return
	}
	n.status = state.String()
}

// expect waits for a word of the new process, or its end.
func (n *successor) expect(ctx context.Context, word string) error {
	err := n.line.expect(ctx, word)
	if !errors.Is(err, io.EOF) {
		return err
	}
	select {
	case <-n.ended:
		return fmt.Errorf("the new process (pid %d) ended before it was ready: %s; what it printed says why", n.process.Pid, n.status)
	case <-time.After(time.Second):
		return fmt.Errorf("the new process (pid %d) closed the line before it was ready", n.process.Pid)
	}
}

// dismissTimeout is how long a new process that is not wanted any more may take to end by itself.
const dismissTimeout = 3 * time.Second

// dismiss ends the new process and returns why with what went wrong on top.
func (n *successor) dismiss(why error) error {
	errs := []error{why}
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}
	if errors.Is(why, ErrForced) {
		signals = signals[1:]
	}
	for _, sig := range signals {
		if err := n.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("stop the new process: %w", err))
		}
		select {
		case <-n.ended:
			return errors.Join(append(errs, n.line.close())...)
		case <-time.After(dismissTimeout):
		}
	}
	errs = append(errs, fmt.Errorf("the new process (pid %d) does not end", n.process.Pid), n.line.close())
	return errors.Join(errs...)
}
