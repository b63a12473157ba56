package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"time"
)

// A lease lets one of several runners do a job: objects SERVICE/leases/NAME/NUMBER, each made by a conditional write. The
// highest number is the holder, who rewrites it every leaseRenewal. One that wasn't for leaseExpiry is that of a runner
// which died: the next number may be taken.
const (
	leaseRenewal = 20 * time.Second
	leaseExpiry  = 2 * time.Minute
)

// ErrLeased is wrapped by a LeasedError.
var ErrLeased = errors.New("somebody else is at it")

// LeasedError reports who holds a lease.
type LeasedError struct {
	Name string
	Host string
	PID  int
}

func (e *LeasedError) Error() string {
	return fmt.Sprintf("%s: %s: process %d on %s", e.Name, ErrLeased, e.PID, e.Host)
}
func (e *LeasedError) Unwrap() error { return ErrLeased }

// Lease is one that is held.
type Lease struct {
	r      Repository
	key    string
	text   []byte
	cancel context.CancelFunc
	done   chan struct{}
}

// Acquire takes a lease, or fails with a LeasedError. The context that it returns ends when the lease is lost.
func (r Repository) Acquire(ctx context.Context, service, name string, now time.Time) (context.Context, *Lease, error) {
	prefix := service + "/leases/" + name + "/"
	newest, err := r.newest(ctx, prefix)
	if err != nil {
		return nil, nil, fmt.Errorf("take the lease of %s: %w", name, err)
	}
	if newest.Key != "" && now.Sub(newest.Modified) < leaseExpiry {
		return nil, nil, r.leased(ctx, name, newest.Key)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, nil, fmt.Errorf("take the lease of %s: %w", name, err)
	}
	text, err := json.Marshal(Lock{Host: host, PID: os.Getpid()})
	if err != nil {
		return nil, nil, fmt.Errorf("take the lease of %s: %w", name, err)
	}
	n, err := leaseNumber(newest.Key)
	if err != nil {
		return nil, nil, err
	}
	l := &Lease{r: r, key: fmt.Sprintf("%s%08d", prefix, n+1), text: text, done: make(chan struct{})}
	err = r.Store.Put(ctx, l.key, bytes.NewReader(text), PutOptions{IfAbsent: true})
	if errors.Is(err, ErrExists) {
		return nil, nil, r.leased(ctx, name, l.key)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take the lease of %s: %w", name, err)
	}
	held, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	go l.keep(held, cancel)
	return held, l, nil
}

func (r Repository) newest(ctx context.Context, prefix string) (newest Object, err error) {
	for o, err := range r.Store.List(ctx, prefix) {
		if err != nil {
			return Object{}, err
		}
		newest = o
	}
	return newest, nil
}

func leaseNumber(key string) (int, error) {
	if key == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(path.Base(key))
	if err != nil {
		return 0, fmt.Errorf("unexpected object %s: %w", key, err)
	}
	return n, nil
}

func (r Repository) leased(ctx context.Context, name, key string) error {
	holder, err := readJSON[Lock](ctx, r.Store, key)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
		return err
	}
	return &LeasedError{Name: name, Host: holder.Host, PID: holder.PID}
}

// keep renews the lease, and ends the holder's context when others may have taken it over.
func (l *Lease) keep(ctx context.Context, lost context.CancelFunc) {
	defer close(l.done)
	tick := time.NewTicker(leaseRenewal)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		if l.r.Store.Put(ctx, l.key, bytes.NewReader(l.text), PutOptions{}) == nil {
			renewed = began
		}
		if time.Since(renewed) > leaseExpiry-leaseRenewal {
			lost()
			return
		}
	}
}

// Release gives the lease back, and removes what earlier holders left.
func (l *Lease) Release(ctx context.Context) error {
	l.cancel()
	<-l.done
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	keys, err := l.r.keys(ctx, path.Dir(l.key)+"/")
	if err != nil {
		return err
	}
	for i, key := range keys {
		if key > l.key {
			keys = keys[:i] // somebody took over: theirs stays
			break
		}
	}
	return l.r.Store.Delete(ctx, keys...)
}
