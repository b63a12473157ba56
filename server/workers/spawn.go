package workers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch is what a process is started with.
type launch struct {
	path string
	argv []string
	dir  string
	env  []string
	mark mark
}

// spawner starts all workers from one goroutine that is locked to its thread: the kernel sends the parent-death signal when
// the *thread* that forked dies, and Go's other threads come and go.
type spawner struct {
	requests chan func()
	family   *family
}

func startSpawner(f *family) *spawner {
	s := &spawner{requests: make(chan func()), family: f}
	go func() {
		runtime.LockOSThread()
		for work := range s.requests {
			work()
		}
	}()
	return s
}

// close ends the thread. Workers that still ran would die with it.
func (s *spawner) close() { close(s.requests) }

// start forks and executes; the process is the leader of a session of its own.
func (s *spawner) start(l launch) (*process, error) {
	var p *process
	var err error
	done := make(chan struct{})
	s.requests <- func() {
		defer close(done)
		p, err = s.fork(l)
	}
	<-done
	return p, err
}

func (s *spawner) fork(l launch) (*process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("worker's input: %w", err)
	}
	defer null.Close() //nolint:errcheck // only read
	out, err := newOutput()
	if err != nil {
		return nil, err
	}
	pidfd := -1
	attr := &syscall.ProcAttr{
		Dir: l.dir, Env: l.env,
		Files: []uintptr{null.Fd(), out.theirOut.Fd(), out.theirErr.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd, Ptrace: !privileged(l.path)},
	}
	pid, _, err := syscall.StartProcess(l.path, l.argv, attr)
	if errors.Is(err, syscall.EPERM) && attr.Sys.Ptrace { // some machines forbid tracing; the mark comes a little later then
		attr.Sys.Ptrace = false
		pid, _, err = syscall.StartProcess(l.path, l.argv, attr)
	}
	if err == nil {
		s.family.add(pid)
	}
	if cerr := out.closeTheirs(); cerr != nil && err == nil {
		err = errors.Join(cerr, syscall.Kill(pid, syscall.SIGKILL))
	}
	if err != nil {
		return nil, errors.Join(startFailure(l, err), out.close())
	}
	p := newProcess(pid, pidfd, out)
	p.markError = p.brand(l.mark, attr.Sys.Ptrace)
	go p.wait(s.family)
	return p, nil
}

// privileged says whether executing a file gives other rights, which the kernel refuses to a traced process.
func privileged(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		return false // it cannot be started anyway
	}
	_, err = unix.Getxattr(path, "security.capability", nil)
	return err == nil || st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0
}

func startFailure(l launch, err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: %s is neither a program for this machine nor a script with a #! line", ErrCommand, l.path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s exists, but not the interpreter of its #! line or its dynamic loader", ErrCommand, l.path)
	}
	return fmt.Errorf("%w: %s: %w", ErrCommand, l.path, err)
}

// family is the set of workers that run or have not been reaped, by pid: nobody else may reap them.
type family struct {
	mu   sync.Mutex
	pids map[int]struct{}
}

func newFamily() *family { return &family{pids: map[int]struct{}{}} }

func (f *family) add(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pids[pid] = struct{}{}
}

func (f *family) remove(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pids, pid)
}

func (f *family) has(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.pids[pid]
	return ok
}
