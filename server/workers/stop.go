package workers

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// stop ends a process: drain if it is in the traffic for good, SIGTERM, SIGKILL. It returns when the process has been reaped,
// and how SIGTERM was not enough, if it was not. One that has ended is left alone.
func (w *worker) stop(p *process) (force string) {
	if isDone(p.exited) {
		return ""
	}
	var told time.Time
	if w.isRetired() && w.joined {
		told = w.drain(p)
	}
	if told.IsZero() {
		told = w.tell(p)
	}
	grace := time.NewTimer(time.Until(told.Add(w.spec.StopGrace)))
	defer grace.Stop()
	select {
	case <-p.exited:
		return ""
	case <-grace.C:
		force = fmt.Sprintf("; it did not exit within %s of SIGTERM and was killed", w.spec.StopGrace)
	case <-w.s.now:
		force = "; it was killed because there was no time left to wait"
	}
	w.signal(p, syscall.SIGKILL)
	<-p.exited
	return force
}

// tell asks a process to end, and returns when that was.
func (w *worker) tell(p *process) time.Time {
	w.enter(StateStopping)
	w.signal(p, syscall.SIGTERM)
	return time.Now()
}

// drain takes a running instance out of the traffic and waits for its requests. After the drain time-out it tells the process
// to end, with what is left in flight: streams have no end of their own, and only the application can give them a proper one.
// It returns when it told it so, if it had to. What the application has not ended by the end of the stop grace is cut.
// A Close that has less time than the drain time-out tells it earlier.
func (w *worker) drain(p *process) (told time.Time) {
	w.enter(StateDraining)
	left := make(chan struct{})
	go func() {
		defer close(left)
		w.leave(p.exited, w.spec.DrainTimeout+w.spec.StopGrace)
	}()
	late := time.NewTimer(w.spec.DrainTimeout)
	defer late.Stop()
	closing := w.s.closing
	for {
		select {
		case <-left:
			w.joined = false
			return told
		case <-closing:
			closing = nil
			if end := w.s.deadline; !end.IsZero() && told.IsZero() {
				late.Reset(min(w.spec.DrainTimeout, time.Until(end)-w.spec.StopGrace))
			}
		case <-late.C:
			told = w.tell(p)
		}
	}
}

// leave takes the instance out of the traffic and waits for its requests: until they have ended, the time for that is up, the
// process is dead, or there is no time at all.
func (w *worker) leave(dead <-chan struct{}, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-dead:
		case <-w.s.now:
		case <-ctx.Done():
		}
	}()
	if err := w.s.o.Traffic.Leave(ctx, w.id); err != nil {
		w.note("requests in flight were cut: %v", err)
		w.s.o.Logger.Warn("a worker is stopped with requests in flight", "instance", w.id, "error", err)
	}
}

func (w *worker) signal(p *process, sig syscall.Signal) {
	if err := p.signal(sig); err != nil {
		w.s.o.Logger.Error("cannot signal a worker", "instance", w.id, "error", err)
	}
}

// bury clears away what is left of a dead process and records its end.
func (w *worker) bury(p *process, t *tally, cause, force string) {
	w.s.clean.clean(&remains{sid: p.pid, start: p.start, mark: w.mark(), instance: w.id})
	w.s.guard.remove(p.pid)
	if err := p.out.drain(drainOutput); err != nil {
		w.s.o.Logger.Error("closing a worker's output", "instance", w.id, "error", err)
	}
	end := autopsy(p.status, cause, w.isRetired())
	end.PID = p.pid
	end.BeforeReady = t.state == StateStarting
	if end.BeforeReady && cause == "" {
		end.Reason += " before it was ready"
	}
	end.Reason += force
	w.note("process %d %s", p.pid, end.Reason)
	w.update(func(i *Instance) {
		end.LastLog = slices.Clone(i.LastLog)
		i.PID, i.Port, i.LastExit = 0, 0, end
		if end.BeforeReady && !w.isRetired() {
			i.StartFailures++
		}
	})
}

// stillborn records a start that made no process.
func (w *worker) stillborn(err error) {
	w.note("could not be started: %v", err)
	w.update(func(i *Instance) {
		i.StartFailures++
		i.LastExit = &Exit{At: time.Now(), Code: -1, BeforeReady: true, Reason: err.Error()}
	})
}

// autopsy says how a process ended. cause is why it was made to, if it was for a fault of its own.
func autopsy(status syscall.WaitStatus, cause string, retired bool) *Exit {
	e := &Exit{At: time.Now(), Code: status.ExitStatus()}
	if status.Signaled() {
		e.Signal = status.Signal().String()
	}
	switch {
	case cause != "":
		e.Reason = cause
	case retired:
		e.Reason = "was stopped"
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		e.Reason = "was killed from outside by SIGKILL, as the kernel does when memory runs out"
	case status.Signaled():
		e.Reason = fmt.Sprintf("died of signal %d (%s)", status.Signal(), status.Signal())
	default:
		e.Reason = fmt.Sprintf("exited with status %d", status.ExitStatus())
	}
	return e
}
