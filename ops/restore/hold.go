package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrAtWork is wrapped when another process restores into a directory.
var ErrAtWork = errors.New("another process is restoring into it")

// holdPatience outlasts those who only look whether somebody is at work.
const holdPatience = time.Second

// Hold lets one process at a time restore into a directory, whoever it runs as and wherever it keeps its record: the lock is
// the directory's own, and ends with the process. The directory is made where there is none. Fails with ErrAtWork while another has it.
func Hold(dir string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { // the server must get through
		return nil, fmt.Errorf("hold %s: %w", dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("hold %s: %w", dir, err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("hold %s: %w", dir, err)
	}
	for deadline := time.Now().Add(holdPatience); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrAtWork), f.Close())
		}
	}
}

// atWork says whether a process holds the directory. Who may not look asks for the process by its number, which may be
// another's by now.
func atWork(dir string, pid int) bool {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		err := syscall.Kill(pid, 0)
		return err == nil || errors.Is(err, syscall.EPERM)
	}
	defer func() { _ = f.Close() }() // which gives a lock back, too
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// ThisHost is this machine's name.
func ThisHost() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
