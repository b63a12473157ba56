package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// A running backup keeps a lock in the repository, renewed every lockRenewal. While one is alive no pack is deleted:
// the backup may be about to refer to it. A lock that wasn't renewed for lockExpiry is that of a dead backup.
const (
	lockRenewal = time.Minute
	lockExpiry  = 20 * time.Minute
)

// Lock is a backup at work.
type Lock struct {
	ID      string    `json:"id"` // of the backup
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Renewed time.Time `json:"-"` // by the store's clock
}

// lock announces a backup and keeps announcing it until the returned function is called.
func (c Cluster) lock(ctx context.Context, id string) (release func() error, err error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	text, err := json.Marshal(Lock{ID: id, Host: host, PID: os.Getpid()})
	if err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	key := c.key("locks", id)
	if err := c.Store.Put(ctx, key, bytes.NewReader(text), PutOptions{}); err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- c.renew(ctx, key, text) }()
	return func() error {
		cancel()
		err := <-done
		clean, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer stop()
		return errors.Join(err, c.Store.Delete(clean, key))
	}, nil
}

func (c Cluster) renew(ctx context.Context, key string, text []byte) error {
	tick := time.NewTicker(lockRenewal)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := c.Store.Put(ctx, key, bytes.NewReader(text), PutOptions{})
		switch {
		case err == nil:
			renewed = time.Now()
		case ctx.Err() == nil && time.Since(renewed) > lockExpiry/2:
			return fmt.Errorf("the backup's lock could not be renewed since %s: %w", renewed.Format(time.TimeOnly), err)
		}
	}
}

// Locks lists the backups at work. now is the present time: older locks are dead and left out.
func (c Cluster) Locks(ctx context.Context, now time.Time) ([]Lock, error) {
	var locks []Lock
	for o, err := range c.Store.List(ctx, c.key("locks")+"/") {
		if err != nil {
			return nil, err
		}
		if now.Sub(o.Modified) > lockExpiry {
			continue
		}
		text, err := ReadAll(ctx, c.Store, o.Key, 1<<16)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var l Lock
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("lock %s: %w", o.Key, err)
		}
		l.Renewed = o.Modified
		locks = append(locks, l)
	}
	return locks, nil
}
