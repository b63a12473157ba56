package workers

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	cleanLimit  = 5 * time.Second
	cleanPause  = 10 * time.Millisecond
	reapSpacing = time.Second // at most so often are processes looked at because some child ended
)

// remains says which processes are what a worker left behind.
type remains struct {
	owner    owner
	sid      int
	start    uint64 // of the session's leader; nobody it left is older
	mark     mark
	instance string

	deadline time.Time
	clean    int // looks in a row that found nobody alive
	done     chan struct{}
}

// match covers zombies too, but by session and mark only.
func (r *remains) match(s suspect) bool {
	if s.start < r.start {
		return false
	}
	if s.sid == r.sid || s.mark == r.mark {
		return true
	}
	if s.zombie || s.mark != 0 { // somebody else's
		return false
	}
	env := s.env()
	return lookup(env, "COVET_INSTANCE") == r.instance && lookup(env, ownerVariable) == r.owner.String()
}

// cleaner kills what ended workers leave behind and reaps those orphans that came back to covetd, the subreaper. One look at
// the processes serves all who wait.
type cleaner struct {
	owner  owner
	own    mark // of this process itself, if it runs as somebody's worker
	family *family
	log    *slog.Logger

	requests chan *remains
	children chan os.Signal
	quit     chan struct{}
	done     chan struct{}
}

func startCleaner(o owner, f *family, log *slog.Logger) *cleaner {
	c := &cleaner{
		owner: o, own: markOf(o.pid), family: f, log: log,
		requests: make(chan *remains), children: make(chan os.Signal, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	signal.Notify(c.children, syscall.SIGCHLD)
	go c.run()
	return c
}

// clean returns when nobody is left of r, or a few seconds later if they would not die.
func (c *cleaner) clean(r *remains) {
	r.owner, r.done, r.deadline = c.owner, make(chan struct{}), time.Now().Add(cleanLimit)
	c.requests <- r
	<-r.done
}

// close must come after the last clean.
func (c *cleaner) close() {
	signal.Stop(c.children)
	close(c.quit)
	<-c.done
}

func (c *cleaner) run() {
	defer close(c.done)
	var waiting []*remains
	var next <-chan time.Time
	var last time.Time
	for {
		select {
		case r := <-c.requests:
			waiting = append(waiting, r)
			next = time.After(0)
			continue
		case <-c.children:
			if next == nil {
				next = time.After(max(0, reapSpacing-time.Since(last)))
			}
			continue
		case <-next:
		case <-c.quit:
			return
		}
		next, last = nil, time.Now()
		if waiting = c.look(waiting); len(waiting) > 0 {
			next = time.After(cleanPause)
		}
	}
}

// look goes once over all processes, and returns the requests that have to be looked after again.
func (c *cleaner) look(waiting []*remains) []*remains {
	alive := map[*remains]int{}
	err := suspects(func(s suspect) {
		if s.zombie && c.adopted(s.mark) {
			c.reap(s)
		}
		for _, r := range waiting {
			if !r.match(s) {
				continue
			}
			if s.zombie {
				c.reap(s)
			} else if err := killProc(s.proc); err != nil {
				c.log.Error("cannot kill what a worker left", "instance", r.instance, "pid", s.pid, "error", err)
				alive[r] = s.pid
			} else {
				alive[r] = s.pid
			}
			return
		}
	})
	if err != nil {
		c.log.Error("cannot look for what workers left", "error", err)
	}
	return c.settle(waiting, alive)
}

func (c *cleaner) settle(waiting []*remains, alive map[*remains]int) []*remains {
	var again []*remains
	for _, r := range waiting {
		pid, found := alive[r]
		if r.clean++; found {
			r.clean = 0
		}
		switch {
		case r.clean >= 2:
			close(r.done)
		case found && time.Now().After(r.deadline):
			c.log.Error("a process that a worker left does not die", "instance", r.instance, "pid", pid)
			close(r.done)
		default:
			again = append(again, r)
		}
	}
	return again
}

// adopted says whether who carries the mark is some worker's descendant, or a worker of a covetd that covetd itself started for
// a hand-over; either is a child of ours only because we are the subreaper. What we start by ourselves has the mark that we
// have, which is none unless we are a worker too.
func (c *cleaner) adopted(m mark) bool {
	return m.sameOwner(c.owner) || (m != 0 && m.pid() != c.owner.pid && m != c.own)
}

// reap takes an adopted orphan's zombie away. It is a child of ours that no worker's wait and no os/exec knows, so its number
// cannot change hands meanwhile.
func (c *cleaner) reap(s suspect) {
	if s.ppid != c.owner.pid || c.family.has(s.pid) {
		return
	}
	if now, err := readProc(s.pid); err != nil || now.start != s.start {
		return
	}
	if _, err := syscall.Wait4(s.pid, nil, syscall.WNOHANG, nil); err != nil {
		c.log.Debug("an adopted process went by itself", "pid", s.pid, "error", err)
	}
}
