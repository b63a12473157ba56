package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// HandoverVariable is the environment variable that tells a new process which descriptors it inherits, as the JSON of an estate. Where it is
// set, this process takes over from one that still serves.
const HandoverVariable = "COVET_HANDOVER"

// estate lists what a process leaves to the one that takes over from it.
type estate struct {
	Line    int            `json:"line"` // descriptor of the line between the two
	Sockets []estateSocket `json:"sockets"`
}

type estateSocket struct {
	Name    string `json:"name"`
	FD      int    `json:"fd"`
	Address string `json:"address"` // as the old process was configured
}

// inheritance is what a process finds open when it starts.
type inheritance struct {
	sockets map[string]*socket
	line    *line // to the process it takes over from; nil at a cold start
}

// inherit takes up descriptors from a hand-over or from systemd's socket activation (sd_listen_fds(3)), and removes the
// variables that announce them, so that no child of ours believes they are meant for it.
func inherit() (inheritance, error) {
	announced := os.Getenv(HandoverVariable)
	pid, fds, fdNames := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{HandoverVariable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return inheritance{}, fmt.Errorf("inherit sockets: %w", err)
		}
	}
	in := inheritance{sockets: map[string]*socket{}}
	if announced != "" {
		if err := in.fromPredecessor(announced); err != nil {
			return in, fmt.Errorf("take over from the running process: %s=%q: %w", HandoverVariable, announced, err)
		}
		return in, nil
	}
	if pid == strconv.Itoa(os.Getpid()) {
		if err := in.fromSystemd(fds, fdNames); err != nil {
			return in, fmt.Errorf("socket activation: %w", err)
		}
	}
	return in, nil
}

func (in *inheritance) fromPredecessor(announced string) error {
	var left estate
	if err := json.Unmarshal([]byte(announced), &left); err != nil {
		return err
	}
	for _, s := range left.Sockets {
		if err := adoptFD(s.FD); err != nil {
			return err
		}
		in.sockets[s.Name] = &socket{name: s.Name, address: s.Address, fd: s.FD}
	}
	if err := adoptFD(left.Line); err != nil {
		return err
	}
	var err error
	in.line, err = openLine(left.Line)
	return err
}

// fromSystemd takes the first stream socket of TCP as the public one, and the first unix one as that for operations.
func (in *inheritance) fromSystemd(count, fdNames string) error {
	const first = 3 // SD_LISTEN_FDS_START
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return fmt.Errorf("LISTEN_FDS=%q is no number", count)
	}
	for fd := first; fd < first+n; fd++ {
		syscall.CloseOnExec(fd)
		sa, err := syscall.Getsockname(fd)
		if err != nil {
			return fmt.Errorf("descriptor %d (LISTEN_FDNAMES=%q): %w", fd, fdNames, os.NewSyscallError("getsockname", err))
		}
		name := publicSocket
		if _, isUnix := sa.(*syscall.SockaddrUnix); isUnix {
			name = adminSocket
		}
		if in.sockets[name] != nil {
			return fmt.Errorf("two %s sockets; give one TCP and at most one unix socket", name)
		}
		in.sockets[name] = &socket{name: name, fd: fd}
	}
	return nil
}

func adoptFD(fd int) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, os.NewSyscallError("fstat", err))
	}
	syscall.CloseOnExec(fd)
	return nil
}

// take returns the inherited socket of that name, if it is the one that is wanted. A socket that systemd opened is
// wanted whatever the configuration says; one from a hand-over only if the address has not changed.
func (in *inheritance) take(name, address string) (*socket, error) {
	s := in.sockets[name]
	delete(in.sockets, name)
	if s == nil || s.address == "" || s.address == address {
		return s, nil
	}
	return nil, s.close(false)
}

// dropRest closes the sockets that nobody took: this configuration has no use for them.
func (in *inheritance) dropRest() error {
	var errs []error
	for name, s := range in.sockets {
		errs = append(errs, s.close(false))
		delete(in.sockets, name)
	}
	return errors.Join(errs...)
}
