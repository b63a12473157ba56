package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// guard keeps a guardian process running and tells it which sessions the workers have.
type guard struct {
	file  string // the guardian's program
	argv  []string
	owner owner
	log   *slog.Logger

	mu       sync.Mutex
	sessions map[int]uint64

	wake chan struct{} // the sessions changed
	quit chan struct{}
	done chan struct{}
}

const (
	guardMinDelay     = 100 * time.Millisecond
	guardMaxDelay     = 10 * time.Second
	guardSteady       = 10 * time.Second // a guardian that lived so long starts again at once
	guardWriteTimeout = 5 * time.Second  // one that reads nothing for so long is replaced
)

// startGuard returns when a guardian runs that knows its owner: no worker may be started before.
func startGuard(command []string, o owner, log *slog.Logger) (*guard, error) {
	g := &guard{
		file: "/proc/self/exe", argv: []string{os.Args[0], "guard"}, // the program that runs, even if its file was replaced
		owner: o, log: log, sessions: map[int]uint64{},
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if len(command) > 0 {
		g.file, g.argv = command[0], command
	}
	first, err := g.start()
	if err != nil {
		return nil, err
	}
	go g.run(first)
	return g, nil
}

// add tells the guardian about a worker's session; start is its leader's.
func (g *guard) add(sid int, start uint64) {
	g.mu.Lock()
	g.sessions[sid] = start
	g.mu.Unlock()
	nudge(g.wake)
}

// remove forgets a session in which nobody is left.
func (g *guard) remove(sid int) {
	g.mu.Lock()
	delete(g.sessions, sid)
	g.mu.Unlock()
	nudge(g.wake)
}

// close ends the guardian: it finds that nothing is left to kill, and exits.
func (g *guard) close(ctx context.Context) error {
	close(g.quit)
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the guardian process: %w", ctx.Err())
	}
}

func (g *guard) run(l *lifeline) {
	defer close(g.done)
	for delay := guardMinDelay; ; {
		began := time.Now()
		var err error
		if l == nil {
			l, err = g.start()
		}
		if err == nil {
			err = g.attend(l)
		}
		l = nil
		if isDone(g.quit) {
			return
		}
		if time.Since(began) > guardSteady {
			delay = guardMinDelay
		}
		g.log.Error("the guardian process ended, starting it again; until then kill -9 of covetd leaves daemonised workers over",
			"error", err, "command", strings.Join(g.argv, " "), "in", delay)
		select {
		case <-g.quit:
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, guardMaxDelay)
	}
}

// lifeline is one guardian process and the pipe whose end it waits for.
type lifeline struct {
	cmd    *exec.Cmd
	pipe   *os.File
	exited chan error
}

func (g *guard) start() (*lifeline, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guardian's pipe: %w", err)
	}
	cmd := exec.Command(g.file)
	cmd.Args = g.argv
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The pipe holds the line until somebody reads it: whenever covetd dies from here on, its guardian will know whose it is.
	_, err = w.WriteString("owner " + g.owner.String() + "\n")
	if err == nil {
		err = cmd.Start()
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the guardian (%s): %w", strings.Join(g.argv, " "), err), w.Close())
	}
	l := &lifeline{cmd: cmd, pipe: w, exited: make(chan error, 1)}
	go func() { l.exited <- cmd.Wait() }()
	return l, nil
}

// attend keeps a guardian informed until it ends or quit is closed.
func (g *guard) attend(l *lifeline) error {
	err := g.tell(l.pipe, l.exited)
	if err == nil {
		cerr := l.pipe.Close()
		return errors.Join(<-l.exited, cerr)
	}
	if l.cmd.Process.Kill() == nil { // closing the pipe of one that lives would set it on our workers
		err = errors.Join(err, <-l.exited)
	}
	return errors.Join(err, l.pipe.Close())
}

// tell writes every change of the sessions. It returns nil when quit is closed.
func (g *guard) tell(w *os.File, exited <-chan error) error {
	told := map[int]uint64{}
	for {
		if err := w.SetWriteDeadline(time.Now().Add(guardWriteTimeout)); err != nil {
			return fmt.Errorf("guardian's pipe: %w", err)
		}
		if _, err := w.WriteString(g.news(told)); err != nil {
			return fmt.Errorf("telling the guardian: %w", err)
		}
		select {
		case <-g.wake:
		case <-g.quit:
			return nil
		case err := <-exited:
			return errors.Join(errors.New("it exited"), err)
		}
	}
}

// news is what the guardian must hear to know the present sessions, if it knows those told; it brings told up to date.
func (g *guard) news(told map[int]uint64) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var b strings.Builder
	for sid := range told {
		if _, ok := g.sessions[sid]; !ok {
			fmt.Fprintf(&b, "gone %d\n", sid)
		}
	}
	for sid, start := range g.sessions {
		if told[sid] != start {
			fmt.Fprintf(&b, "session %d %d\n", sid, start)
		}
	}
	clear(told)
	maps.Copy(told, g.sessions)
	return b.String()
}

// nudge wakes the one who waits on c, or leaves word.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
