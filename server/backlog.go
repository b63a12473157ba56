package server

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// closeSocket gives the endpoint's socket up after accepting has been stopped, where no other process accepts on it. What
// has queued up in the kernel since would be reset with the socket, so it is taken and answered: clients that are told
// to close their connections come back on new ones just then.
func (e *endpoint) closeSocket() error {
	var late []int
	for {
		fd, _, err := syscall.Accept4(e.socket.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			break
		}
		late = append(late, fd)
	}
	err := e.socket.close(false)
	e.socket = nil
	conns := &queue{}
	for _, fd := range late {
		f := os.NewFile(uintptr(fd), "late connection")
		c, connErr := net.FileConn(f)
		if err = errors.Join(err, connErr, f.Close()); connErr == nil {
			conns.waiting = append(conns.waiting, e.conns.add(c))
		}
	}
	// The queue ends with net.ErrClosed, by which time all have been taken over.
	if serveErr := e.serve(conns); !errors.Is(serveErr, net.ErrClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// queue is a listener with the connections it has and no others.
type queue struct{ waiting []net.Conn }

func (q *queue) Accept() (net.Conn, error) {
	if len(q.waiting) == 0 {
		return nil, net.ErrClosed
	}
	c := q.waiting[0]
	q.waiting = q.waiting[1:]
	return c, nil
}

func (q *queue) Close() error   { return nil }
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
