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
	command []string // argv; argv[0] is the file
	owner   owner
	log     *slog.Logger

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

func startGuard(command []string, o owner, log *slog.Logger) *guard {
	g := &guard{
		command: command, owner: o, log: log, sessions: map[int]uint64{},
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go g.run()
	return g
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

func (g *guard) run() {
	defer close(g.done)
	for delay := guardMinDelay; ; {
		began := time.Now()
		err := g.once()
		select {
		case <-g.quit:
			return
		default:
		}
		if time.Since(began) > guardSteady {
			delay = guardMinDelay
		}
		g.log.Error("the guardian process ended, starting it again; until then kill -9 of covetd leaves daemonised workers over",
			"error", err, "command", strings.Join(g.command, " "), "in", delay)
		select {
		case <-g.quit:
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, guardMaxDelay)
	}
}

// once runs one guardian until it ends or quit is closed.
func (g *guard) once() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("guardian's pipe: %w", err)
	}
	cmd := exec.Command(g.command[0], g.command[1:]...)
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	if err := errors.Join(err, r.Close()); err != nil {
		return errors.Join(fmt.Errorf("starting the guardian: %w", err), w.Close())
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	err = g.tell(w, exited)
	if err != nil && cmd.Process.Kill() == nil { // closing the pipe of one that lives would set it on our workers
		<-exited
	}
	if cerr := w.Close(); err == nil {
		return errors.Join(<-exited, cerr)
	}
	return err
}

// tell writes the owner and then every change of the sessions. It returns nil when quit is closed.
func (g *guard) tell(w *os.File, exited <-chan error) error {
	text := "owner " + g.owner.String() + "\n"
	told := map[int]uint64{}
	for {
		if err := w.SetWriteDeadline(time.Now().Add(guardWriteTimeout)); err != nil {
			return fmt.Errorf("guardian's pipe: %w", err)
		}
		if _, err := w.WriteString(text + g.news(told)); err != nil {
			return fmt.Errorf("telling the guardian: %w", err)
		}
		text = ""
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
