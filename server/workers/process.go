package workers

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one worker process. It is reaped by wait only.
type process struct {
	pid       int
	start     uint64 // as in /proc/PID/stat
	began     time.Time
	pidfd     *os.File
	out       *output
	markError error // its descendants can be told by session and environment only

	exited chan struct{} // closed when it has been reaped
	status syscall.WaitStatus
	reaped bool // before wait began
}

func newProcess(pid, pidfd int, out *output) *process {
	p := &process{pid: pid, began: time.Now(), out: out, exited: make(chan struct{})}
	if st, err := readProc(pid); err == nil { // it cannot be gone: nobody has reaped it
		p.start = st.start
	}
	if pidfd >= 0 {
		// Non-blocking, so that the runtime's poller waits for it: no thread for each worker.
		if err := unix.SetNonblock(pidfd, true); err == nil {
			p.pidfd = os.NewFile(uintptr(pidfd), fmt.Sprintf("worker %d", pid))
		}
	}
	return p
}

// brand marks the process. A traced one stands still before its first instruction, so that nothing it forks can lack the mark;
// it is let go then. The thread that started it must call this.
func (p *process) brand(m mark, traced bool) error {
	if !traced {
		return setMark(p.pid, m)
	}
	for {
		_, err := syscall.Wait4(p.pid, &p.status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for process %d to be marked: %w", p.pid, err)
		}
		break
	}
	if !p.status.Stopped() { // it was killed already, and with that Wait4 reaped it
		p.reaped = true
		return nil
	}
	err := setMark(p.pid, m)
	if derr := unix.PtraceDetach(p.pid); derr != nil && !errors.Is(derr, unix.ESRCH) {
		err = errors.Join(err, fmt.Errorf("letting process %d go: %w", p.pid, derr), syscall.Kill(p.pid, syscall.SIGKILL))
	}
	return err
}

// wait reaps the process when it ends. Its group is killed while the zombie still holds the number.
func (p *process) wait(f *family) {
	defer close(p.exited)
	if !p.reaped {
		p.reap()
	}
	f.remove(p.pid)
	if p.pidfd != nil {
		_ = p.pidfd.Close() // nothing was written
	}
}

func (p *process) reap() {
	p.awaitEnd()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // fails when nobody else is in the group, as it should
	for {
		_, err := syscall.Wait4(p.pid, &p.status, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// awaitEnd returns when the process is a zombie, or at once where that cannot be known without reaping it.
func (p *process) awaitEnd() {
	if p.pidfd == nil {
		return
	}
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool { // an error means "cannot be polled", and Wait4 waits instead
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
	})
}

// signal reaches this very process or nobody.
func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	if p.pidfd == nil {
		return fmt.Errorf("signalling process %d: no pidfd", p.pid)
	}
	conn, err := p.pidfd.SyscallConn()
	if err == nil {
		var failure error
		err = conn.Control(func(fd uintptr) { failure = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
		err = errors.Join(err, failure)
	}
	if err == nil || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.ESRCH) { // it has been reaped meanwhile
		return nil
	}
	return fmt.Errorf("sending %s to process %d: %w", sig, p.pid, err)
}

// checkKernel refuses a kernel without pidfds.
func checkKernel() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("supervising workers needs pidfds (Linux 5.4 or newer): %w", err)
	}
	return unix.Close(fd)
}
