package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"
)

// ErrUnavailable is returned, wrapped, when no agent answered: whoever asked can do the work itself.
var ErrUnavailable = errors.New("no agent")

// unavailable is ErrUnavailable with the reason.
type unavailable struct {
	socket string
	err    error
}

func (u *unavailable) Error() string   { return "no agent at " + u.socket + ": " + u.err.Error() }
func (u *unavailable) Unwrap() []error { return []error{ErrUnavailable, u.err} }

// Push asks the agent at a socket to archive a file, and waits until it is durable or not going to be. Fails with
// ErrUnavailable where there is no agent, where it died meanwhile, and where it runs as somebody who could pretend.
func Push(ctx context.Context, socket string, r Request) (Reply, error) {
	c, err := dial(socket)
	if err != nil {
		return Reply{}, &unavailable{socket, err}
	}
	defer c.close()
	stop := context.AfterFunc(ctx, func() { _ = syscall.Shutdown(c.fd, syscall.SHUT_RDWR) }) // wakes whoever reads
	defer stop()
	reply, err := c.converse(r)
	if err != nil {
		return Reply{}, &unavailable{socket, errors.Join(err, ctx.Err())}
	}
	return reply, nil
}

// Running says whether an agent that can be trusted listens on a socket.
func Running(socket string) bool {
	c, err := dial(socket)
	if err != nil {
		return false
	}
	c.close()
	return true
}

// conn is a connection made of system calls alone: package net, and what it needs, costs more than the conversation.
type conn struct{ fd int }

// dial connects to an agent that can be believed.
func dial(socket string) (conn, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return conn{}, os.NewSyscallError("socket", err)
	}
	c := conn{fd}
	limit := syscall.NsecToTimeval(int64(Patience))
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err == nil {
			err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, option, &limit)
		}
	}
	if err == nil {
		err = again(func() error { return syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}) })
	}
	if err == nil {
		err = c.trusted()
	}
	if err != nil {
		c.close()
	}
	return c, err
}

func (c conn) close() { _ = syscall.Close(c.fd) } // the answer is there, or isn't

// trusted makes sure that what listens runs as this user or as root: anybody else could say that WAL is safe.
func (c conn) trusted() error {
	peer, err := syscall.GetsockoptUcred(c.fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return errors.New("it runs as user " + strconv.Itoa(int(peer.Uid)) + ", neither root nor this one")
	}
	return nil
}

func (c conn) converse(r Request) (Reply, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return Reply{}, err
	}
	if err := c.write(append(line, '\n')); err != nil {
		return Reply{}, err
	}
	var got []byte
	for {
		var line []byte
		if line, got, err = c.line(got); err != nil {
			return Reply{}, err
		}
		var reply Reply
		if err := json.Unmarshal(line, &reply); err != nil {
			return Reply{}, err
		}
		if !reply.Working {
			return reply, nil
		}
	}
}

// line returns the next line, and what was read behind it.
func (c conn) line(got []byte) (line, rest []byte, err error) {
	for {
		if at := bytes.IndexByte(got, '\n'); at >= 0 {
			return got[:at], got[at+1:], nil
		}
		if len(got) > MaxLine {
			return nil, nil, errors.New("its answer is too long")
		}
		var b [4096]byte
		n := 0
		err := again(func() (err error) { n, err = syscall.Read(c.fd, b[:]); return err })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, nil, os.NewSyscallError("read its answer", err)
		}
		got = append(got, b[:n]...)
	}
}

func (c conn) write(b []byte) error {
	for len(b) > 0 {
		n := 0
		// Not write(2): an agent that has died would end this process by SIGPIPE.
		err := again(func() (err error) {
			n, err = syscall.SendmsgN(c.fd, b, nil, nil, syscall.MSG_NOSIGNAL)
			return err
		})
		if err != nil {
			return os.NewSyscallError("send", err)
		}
		b = b[n:]
	}
	return nil
}

// again repeats a system call that a signal broke off.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
