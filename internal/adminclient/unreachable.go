package adminclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/covetpy/covet/ops/console"
)

// maxSocketPath is the longest path a unix socket can have on Linux (sun_path of unix(7), without its final NUL).
const maxSocketPath = 107

// unreachable says why covetd could not be reached, or not be heard to the end, and what to do about it.
func (c *Client) unreachable(req *http.Request, doing string, err error) *console.Error {
	e := &console.Error{Code: console.CodeUnreachable}
	switch {
	case errors.Is(req.Context().Err(), context.Canceled):
		e.Message = doing + ": given up"
	case errors.Is(err, fs.ErrNotExist):
		e.Message = "covetd is not running: there is no socket at " + c.socket
		e.Hint = startHint
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "covetd is not running: nobody listens on " + c.socket + ", which one that ended left behind"
		e.Hint = startHint
	case errors.Is(err, fs.ErrPermission):
		e.Message, e.Hint = barred(c.socket)
	case errors.Is(err, syscall.EAGAIN):
		e.Message = "covetd does not take connections on " + c.socket + ": too many wait already"
		e.Hint = "it may be stopped or overloaded; see its log and `top`"
	case errors.Is(err, syscall.EINVAL) && len(c.socket) > maxSocketPath:
		e.Message = fmt.Sprintf("the socket's path has %d bytes, and %d is the most there can be: %s", len(c.socket), maxSocketPath, c.socket)
		e.Hint = "give covetd and --socket a shorter one, or a relative one"
	case timedOut(err):
		e.Message = fmt.Sprintf("%s: covetd did not answer in time on %s", doing, c.socket)
		e.Hint = "it may be stopped or overloaded; give it longer with --timeout, and see its log"
		e.Hint += afterwards(req)
	default:
		lost := c.lost(doing, err)
		lost.Hint += afterwards(req)
		return lost
	}
	return e
}

const startHint = "start it with `covetd`, or name the socket of the one that runs with --socket or COVET_SOCKET"

// lost is the error of a connection that broke.
func (c *Client) lost(doing string, err error) *console.Error {
	return &console.Error{
		Code:    console.CodeUnreachable,
		Message: fmt.Sprintf("%s: lost the connection to covetd on %s: %v", doing, c.socket, root(err)),
		Hint:    "it may have been stopped just now: `covetctl status` tells",
	}
}

// afterwards warns of a command that may have been carried out although nobody said so.
func afterwards(req *http.Request) string {
	if req.Method != http.MethodPost {
		return ""
	}
	return "; the command may have been accepted: look at `covetctl audit` before you repeat it"
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// root leaves out the layers of net/http, which only repeat what was being asked.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// barred says which file or folder on the way to the socket does not let the caller pass, and who may.
func barred(socket string) (message, hint string) {
	name := socket
	info, err := os.Stat(name)
	for errors.Is(err, fs.ErrPermission) && filepath.Dir(name) != name {
		name = filepath.Dir(name)
		info, err = os.Stat(name)
	}
	if err != nil {
		return "you may not use covetd's socket " + socket, "use sudo, or ask who runs covetd"
	}
	owner, group := owners(info)
	message = fmt.Sprintf("you may not use covetd's socket %s: %s is %s of user %s and group %s", socket, name, info.Mode(), owner, group)
	if info.Mode().Perm()&0o070 == 0 || group == "root" { // joining root would give away far more than the socket
		return message, fmt.Sprintf("only %s may: use `sudo -u %s covetctl …`", owner, owner)
	}
	return message, fmt.Sprintf("join the group (`sudo usermod -aG %s $USER`, then log in again), or use `sudo -u %s covetctl …`", group, owner)
}

func owners(info fs.FileInfo) (owner, group string) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "?", "?"
	}
	owner, group = strconv.Itoa(int(st.Uid)), strconv.Itoa(int(st.Gid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return owner, group
}
