package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names of the sockets, as they are handed over.
const (
	publicSocket  = "public"
	adminSocket   = "admin"
	metricsSocket = "metrics"
)

// socket is a listening socket of the kernel, apart from the Go listeners that accept on it: these come and go, at a
// hand-over and back, while clients queue in the kernel's backlog.
type socket struct {
	name    string
	address string // as configured; empty for one that the service manager opened
	fd      int
	made    os.FileInfo // the file of a unix socket that is ours to remove
}

// listener opens a new Go listener on a duplicate of the descriptor.
func (s *socket) listener() (net.Listener, error) {
	dup, err := dupCloseOnExec(s.fd)
	if err != nil {
		return nil, fmt.Errorf("listen on the %s socket: %w", s.name, err)
	}
	f := os.NewFile(uintptr(dup), s.name)
	l, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("listen on the %s socket: %w", s.name, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return l, nil
}

// close gives the socket up; remove says whether its file goes too. A file that another process has put there since is
// left alone.
func (s *socket) close(remove bool) error {
	var errs []error
	if remove && s.made != nil {
		if now, err := os.Lstat(s.address); err == nil && os.SameFile(now, s.made) {
			errs = append(errs, os.Remove(s.address))
		}
	}
	return errors.Join(append(errs, syscall.Close(s.fd))...)
}

func dupCloseOnExec(fd int) (int, error) {
	dup, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 3)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(dup), nil
}

// keep takes the kernel's socket out of a Go listener, which it closes.
func keep(name, address string, l net.Listener) (*socket, error) {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%s socket: %T has no descriptor", name, l)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	s := &socket{name: name, address: address, fd: -1}
	var dupErr error
	// Not through File(): its descriptor would be set to blocking mode when it is passed on, and ours with it.
	err = raw.Control(func(fd uintptr) { s.fd, dupErr = dupCloseOnExec(int(fd)) })
	if err := errors.Join(err, dupErr, l.Close()); err != nil {
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	return s, nil
}

// listenTCP opens a TCP socket.
func listenTCP(ctx context.Context, name, addr string) (*socket, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		hint := ""
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			hint = "; another process has it (ss -ltnp shows which), or choose another address"
		case errors.Is(err, syscall.EACCES):
			hint = "; ports below 1024 need CAP_NET_BIND_SERVICE"
		}
		return nil, fmt.Errorf("%s listener: %w%s", name, err, hint)
	}
	return keep(name, addr, l)
}

// listenUnix opens a unix socket at path with mode 0660, in a folder that is made where missing. A file left behind by a
// dead process is replaced; a living one's is not. The folder is locked meanwhile, so of two that start at once one wins.
func listenUnix(ctx context.Context, name, path string) (*socket, error) {
	fail := func(err error) (*socket, error) { return nil, fmt.Errorf("%s socket %s: %w", name, path, err) }
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fail(err)
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if err := refuseLiving(ctx, path); err != nil {
		return fail(err)
	}
	l, err := bindUnix(ctx, path)
	if err != nil {
		return fail(err)
	}
	made, err := os.Lstat(path)
	if err != nil {
		return fail(errors.Join(err, l.Close()))
	}
	s, err := keep(name, path, l)
	if err != nil {
		return nil, err
	}
	s.made = made
	return s, nil
}

// ownFile lets a process that took over a unix socket remove its file in the end, unless it is the service manager's.
func (s *socket) ownFile() error {
	if s.address == "" {
		return nil
	}
	made, err := os.Lstat(s.address)
	if err != nil {
		return fmt.Errorf("%s socket: %w", s.name, err)
	}
	s.made = made
	return nil
}

// bindUnix makes the socket's file with its mode from the first moment. The umask is the process's: what another
// goroutine creates meanwhile is no more open than it should be.
func bindUnix(ctx context.Context, path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	before := syscall.Umask(0o117)
	defer syscall.Umask(before)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T is no unix listener", l), l.Close())
	}
	u.SetUnlinkOnClose(false)
	return u, nil
}

// lockFolder takes an advisory lock on a folder, which leaves no lock file behind.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // opened for reading; closing it unlocks
}

// refuseLiving fails unless path is free or a socket that nobody listens on.
func refuseLiving(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file by that name that is no socket; remove it or set ADMIN_SOCKET")
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(errors.New("another process is serving it; stop that one first, or set ADMIN_SOCKET or DATA_DIR"), c.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil // left behind by a process that is gone
	}
	return fmt.Errorf("cannot tell whether it is in use: %s", strings.TrimPrefix(err.Error(), "dial "))
}
