package workers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// guardLimit bounds how long a guardian hunts: a process that SIGKILL does not end by then waits for a dead disk.
const guardLimit = 30 * time.Second

// RunGuardian is the whole life of the guardian process: it reads from stdin which covetd it guards and which sessions that
// one's workers have, and when stdin ends, because covetd did, kills every process that carries covetd's marks or is in one
// of those sessions, until none is left. It ignores the signals that end the rest of a terminal's or service's processes. It
// returns the context's error without killing anybody when the context ends first, and else an error that names what it
// could not end.
func RunGuardian(ctx context.Context, stdin io.Reader) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	debug.SetGCPercent(20) // it has next to nothing and does nothing for months: small is all that counts
	ward := newWard()
	ended := make(chan error, 1)
	go func() { ended <- ward.listen(stdin) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		if ward.owner == (owner{}) {
			return errors.Join(errors.New("guardian: covetd went before it said who it is"), err)
		}
		if _, err2 := hunt(ward.prey, guardLimit); err2 != nil {
			return fmt.Errorf("guardian of covetd %d: %w", ward.owner.pid, errors.Join(err2, err))
		}
		return nil
	}
}

// ward is what a guardian knows about the covetd that it guards.
type ward struct {
	owner    owner
	sessions map[int]uint64 // the leader's start time by session id
}

func newWard() *ward { return &ward{sessions: map[int]uint64{}} }

// listen reads covetd's lines until they end:
//
//	owner STATE/PID/START
//	session SID START
//	gone SID
func (w *ward) listen(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := w.hear(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (w *ward) hear(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	var sid int
	var start uint64
	var err error
	switch word {
	case "owner":
		w.owner, err = parseOwner(rest)
	case "session":
		if _, err = fmt.Sscanf(rest, "%d %d", &sid, &start); err == nil {
			w.sessions[sid] = start
		}
	case "gone":
		if _, err = fmt.Sscanf(rest, "%d", &sid); err == nil {
			delete(w.sessions, sid)
		}
	default:
		err = errors.New("unknown word")
	}
	if err != nil {
		return fmt.Errorf("line %q from covetd: %w", line, err)
	}
	return nil
}

// prey says whether a process belongs to the dead covetd's workers.
func (w *ward) prey(s suspect) bool {
	if s.mark.sameOwner(w.owner) && s.start >= w.owner.start {
		return true
	}
	if start, ok := w.sessions[s.sid]; ok && s.start >= start {
		return true
	}
	return lookup(s.env(), ownerVariable) == w.owner.String()
}
