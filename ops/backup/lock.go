package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A running backup keeps a lock in the repository, renewed every lockRenewal. While one is alive no pack is deleted:
// the backup may be about to refer to it. A lock that wasn't renewed for lockExpiry is that of a dead backup.
const (
	lockRenewal = time.Minute
	lockExpiry  = 20 * time.Minute
)

// Lock is a backup at work, or somebody who reads one.
type Lock struct {
	ID      string    `json:"id"`              // of the backup that is made, or of the reading
	Reads   string    `json:"reads,omitempty"` // the backup that is read, as by a restore
	Host    string    `json:"host"`
	Boot    string    `json:"boot,omitempty"` // of the host: its kernel's boot ID
	PID     int       `json:"pid"`
	Until   time.Time `json:"until,omitzero"` // it was read, and the log from it on is needed until then
	Renewed time.Time `json:"-"`              // by the store's clock
}

// heldLock is the lock of a backup at work.
type heldLock struct {
	c       Cluster
	what    Lock
	key     string
	text    []byte
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	renewed time.Time
	err     error // of the last renewal, where it failed
}

// String says who it is.
func (l Lock) String() string {
	switch {
	case !l.Until.IsZero():
		return fmt.Sprintf("a server restored from %s on %s, which may need the log until %s", l.Reads, l.Host, l.Until.Format(time.RFC3339))
	case l.Reads != "":
		return fmt.Sprintf("a restore of %s on %s", l.Reads, l.Host)
	}
	return fmt.Sprintf("%s on %s", l.ID, l.Host)
}

// bootID is the kernel's name for this boot; empty where it has none.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// ended says whether it is a reading of a process of this very machine that is no more. A backup is given its time: it may
// have begun to write.
func (l Lock) ended() bool {
	host, err := os.Hostname()
	return err == nil && l.Reads != "" && l.Until.IsZero() && l.Boot != "" && l.Host == host && l.Boot == bootID() && errors.Is(syscall.Kill(l.PID, 0), syscall.ESRCH)
}

// Reading is a backup that is read.
type Reading struct{ lock *heldLock }

// Read announces that a backup is read, so that it does not expire meanwhile with its packs and the log from it on. End or Leave end
// that; where neither is called, as when the reader dies, the announcement ends by itself: at once for whoever looks from the same machine.
func (c Cluster) Read(ctx context.Context, id string) (*Reading, error) {
	l, err := c.announce(ctx, Lock{ID: newID(time.Now()), Reads: id})
	if err != nil {
		return nil, err
	}
	return &Reading{l}, nil
}

// End ends the announcement.
func (r *Reading) End(ctx context.Context) error { return r.lock.release(ctx) }

// Leave ends it where the backup was read and the log from it on is still to be replayed: the backup and that log are kept until then.
func (r *Reading) Leave(ctx context.Context, until time.Time) error {
	l := r.lock
	l.cancel()
	<-l.done
	l.what.Until = until.UTC().Truncate(time.Second)
	text, err := json.Marshal(l.what)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	return l.c.Store.Put(ctx, l.key, bytes.NewReader(text), PutOptions{})
}

// lock announces a backup and keeps announcing it until it is released.
func (c Cluster) lock(ctx context.Context, id string) (*heldLock, error) {
	return c.announce(ctx, Lock{ID: id})
}

func (c Cluster) announce(ctx context.Context, what Lock) (*heldLock, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	what.Host, what.Boot, what.PID = host, bootID(), os.Getpid()
	text, err := json.Marshal(what)
	if err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	l := &heldLock{c: c, what: what, key: c.key("locks", what.ID), text: text, done: make(chan struct{}), renewed: time.Now()}
	if err := c.Store.Put(ctx, l.key, bytes.NewReader(text), PutOptions{}); err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go l.keep(ctx)
	return l, nil
}

// keep renews the lock until its context ends.
func (l *heldLock) keep(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(lockRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		err := l.c.Store.Put(ctx, l.key, bytes.NewReader(l.text), PutOptions{})
		l.mu.Lock()
		if l.err = err; err == nil {
			l.renewed = began
		}
		l.mu.Unlock()
	}
}

// held fails when others may have taken the backup for dead, and removed what it refers to.
func (l *heldLock) held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if age := time.Since(l.renewed); age > lockExpiry/2 {
		return fmt.Errorf("the backup's lock could not be renewed for %s: %w", age.Round(time.Second), l.err)
	}
	return nil
}

// release ends the announcement.
func (l *heldLock) release(ctx context.Context) error {
	l.cancel()
	<-l.done
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	return l.c.Store.Delete(ctx, l.key)
}

// dropDeadLocks removes the locks of those that died, and of what is over.
func (c Cluster) dropDeadLocks(ctx context.Context, e *Expiry, now time.Time) error {
	_, dead, err := c.sortLocks(ctx, now)
	if err != nil {
		return err
	}
	return c.remove(ctx, e, dead)
}

// Locks lists the backups at work, those that are read, and those whose log is still needed. now is the present time: older locks
// are dead and left out.
func (c Cluster) Locks(ctx context.Context, now time.Time) ([]Lock, error) {
	locks, _, err := c.sortLocks(ctx, now)
	return locks, err
}

// sortLocks tells the locks that hold from those, by key, that are over for everybody.
func (c Cluster) sortLocks(ctx context.Context, now time.Time) (locks []Lock, dead []string, err error) {
	for o, err := range c.Store.List(ctx, c.key("locks")+"/") {
		if err != nil {
			return nil, nil, err
		}
		l, err := readJSON[Lock](ctx, c.Store, o.Key)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case errors.Is(err, ErrDamaged): // whatever it says, somebody renews it
			l = Lock{ID: path.Base(o.Key)}
		case err != nil:
			return nil, nil, err
		}
		l.Renewed = o.Modified
		switch over := now.Sub(o.Modified) > lockExpiry; {
		case l.Until.IsZero() && over, !l.Until.IsZero() && now.After(l.Until):
			dead = append(dead, o.Key)
		case !l.ended():
			locks = append(locks, l)
		}
	}
	return locks, dead, nil
}
