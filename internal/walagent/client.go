package walagent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnavailable is returned, wrapped, when no agent answered: whoever asked can do the work itself.
var ErrUnavailable = errors.New("no agent")

// Push asks the agent at a socket to archive a file, and waits until it is durable or not going to be. Fails with
// ErrUnavailable where there is no agent, where it died meanwhile, and where it runs as somebody who could pretend.
func Push(ctx context.Context, socket string, r Request) (Reply, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = c.Close() }() // the answer is there, or isn't
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := trusted(c); err != nil {
		return Reply{}, fmt.Errorf("%w: %s: %w", ErrUnavailable, socket, err)
	}
	reply, err := converse(c, r)
	if err != nil {
		return Reply{}, fmt.Errorf("%w: %s: %w", ErrUnavailable, socket, errors.Join(err, ctx.Err()))
	}
	return reply, nil
}

func converse(c net.Conn, r Request) (Reply, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return Reply{}, err
	}
	if _, err := c.Write(append(line, '\n')); err != nil {
		return Reply{}, err
	}
	lines := bufio.NewScanner(c)
	for {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return Reply{}, err
		}
		if !lines.Scan() {
			return Reply{}, errors.Join(errors.New("it ended without an answer"), lines.Err())
		}
		var reply Reply
		if err := json.Unmarshal(lines.Bytes(), &reply); err != nil {
			return Reply{}, err
		}
		if !reply.Working {
			return reply, nil
		}
	}
}

// trusted makes sure that what listens runs as this user or as root: anybody else could say that WAL is safe.
func trusted(c net.Conn) error {
	uid, err := peer(c)
	if err != nil {
		return err
	}
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("it runs as user %d, neither root nor this one", uid)
	}
	return nil
}

// peer is the user at the other end.
func peer(c net.Conn) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}

// Running says whether an agent that can be trusted listens on a socket.
func Running(ctx context.Context, socket string) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // nothing was asked
	return trusted(c) == nil
}
