package workers

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// suspect is a process as a hunt sees it. Its environment is read when asked for.
type suspect struct {
	proc
	mark mark
	env  func() []string
}

// suspects calls visit for every process but the present one.
func suspects(visit func(suspect)) error {
	list, err := pids()
	if err != nil {
		return err
	}
	self := os.Getpid()
	for _, pid := range list {
		if pid == self {
			continue
		}
		p, err := readProc(pid)
		if err != nil || p.ppid == 2 || pid == 2 { // gone, or a thread of the kernel
			continue
		}
		visit(suspect{proc: p, mark: markOf(pid), env: func() []string { return environOf(pid) }})
	}
	return nil
}

// killProc kills exactly the process that was seen, never another one that has got its number since: the pidfd is opened
// first and the start time compared after, so the number cannot have changed hands in between.
func killProc(p proc) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if now, err := readProc(p.pid); err != nil || now.start != p.start {
		return nil // it is gone
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", p.pid, err)
	}
	return nil
}

// hunt kills all processes that are prey until two looks in a row find none alive, since one that forks can slip through one
// look. It returns how many it killed, and an error naming those that would not die in time.
func hunt(prey func(suspect) bool, limit time.Duration) (int, error) {
	deadline := time.Now().Add(limit)
	killed := map[proc]bool{}
	for clean, pause := 0, time.Millisecond; clean < 2; {
		var left []int
		var failures []error
		err := suspects(func(s suspect) {
			if s.zombie || !prey(s) {
				return
			}
			left = append(left, s.pid)
			killed[proc{pid: s.pid, start: s.start}] = true
			failures = append(failures, killProc(s.proc))
		})
		if err != nil {
			return len(killed), err
		}
		if len(left) == 0 {
			clean++
			continue
		}
		clean = 0
		if time.Now().After(deadline) {
			return len(killed), errors.Join(append(failures, fmt.Errorf("processes %v were killed but are still there", left))...)
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
	return len(killed), nil
}
