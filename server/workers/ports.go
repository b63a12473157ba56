package workers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ports gives out TCP ports. One that is given out is locked as a byte of a file in the state folder, so that two covetds that
// share it during a hand-over never give the same one; the kernel drops the locks with the process.
type ports struct {
	min, max int
	lock     *os.File

	mu   sync.Mutex
	next int
	used map[int]bool
}

func openPorts(dir string, minPort, maxPort int) (*ports, error) {
	if minPort < 1 || maxPort > 65535 || minPort > maxPort {
		return nil, fmt.Errorf("worker ports %d-%d: not a range within 1-65535", minPort, maxPort)
	}
	f, err := os.OpenFile(filepath.Join(dir, "ports.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the worker ports: %w", err)
	}
	return &ports{
		min: minPort, max: maxPort, lock: f, used: map[int]bool{},
		next: minPort + rand.IntN(maxPort-minPort+1), // strangers to the state folder start elsewhere too
	}, nil
}

// take reserves a port that nobody listens on. It goes round the range, so that a port rests before it is used again.
func (p *ports) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.max - p.min + 1 {
		port := p.next
		if p.next++; p.next > p.max {
			p.next = p.min
		}
		if p.used[port] {
			continue
		}
		err := p.claim(port)
		if err == nil {
			p.used[port] = true
			return port, nil
		}
		if !errors.Is(err, errPortBusy) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("no free port for a worker in %d-%d: widen the range, or look at what uses it (ss -tlnp)", p.min, p.max)
}

var errPortBusy = errors.New("port in use")

func (p *ports) claim(port int) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(port), Len: 1}
	err := unix.FcntlFlock(p.lock.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errPortBusy
	}
	if err != nil {
		return fmt.Errorf("locking worker port %d: %w", port, err)
	}
	if free, err := bindable(port); err != nil || !free {
		return errors.Join(errOrBusy(err), p.unlock(port))
	}
	return nil
}

func errOrBusy(err error) error {
	if err != nil {
		return err
	}
	return errPortBusy
}

func (p *ports) unlock(port int) error {
	lock := unix.Flock_t{Type: unix.F_UNLCK, Start: int64(port), Len: 1}
	if err := unix.FcntlFlock(p.lock.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		return fmt.Errorf("unlocking worker port %d: %w", port, err)
	}
	return nil
}

// release gives a port back.
func (p *ports) release(port int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, port)
	return p.unlock(port)
}

func (p *ports) close() error { return p.lock.Close() }

// bindable says whether a server could listen on the port on any address. It binds without listening: nothing is opened.
func bindable(port int) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("trying worker port %d: %w", port, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return false, fmt.Errorf("trying worker port %d: %w", port, err)
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("trying worker port %d: %w", port, err)
	}
	return true, nil
}
