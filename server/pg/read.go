package pg

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Read runs f on a replica that has everything the context's session has written and is not far behind, or on the
// primary. Where that server fails f is run again on another, so it must only read.
func (d *DB) Read(ctx context.Context, f func(ctx context.Context, q Querier) error) error {
	deadline := time.Now().Add(d.cfg.AcquireTimeout)
	for {
		changed := d.nextView()
		err, again := d.readOnce(ctx, f)
		if !again {
			return err
		}
		d.doubt()
		wait, cancel := context.WithDeadline(ctx, deadline)
		waited := d.await(wait, changed)
		cancel()
		if waited != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// readOnce tries each server that may be read.
func (d *DB) readOnce(ctx context.Context, f func(ctx context.Context, q Querier) error) (err error, again bool) {
	v := d.view.Load()
	servers := v.readers(SessionFrom(ctx).At(), d.cfg.MaxLag, d.turn.Add(1), time.Now())
	if len(servers) == 0 {
		return ErrNoServer, true
	}
	for _, i := range servers {
		n := d.nodes[i]
		conn, borrowErr := d.borrow(ctx, n)
		if borrowErr != nil {
			err = errors.Join(err, borrowErr)
			if ctx.Err() != nil {
				return err, false
			}
			continue
		}
		readErr := f(ctx, conn)
		bad := lost(readErr, conn.Conn().IsClosed()) && ctx.Err() == nil
		giveBack(conn, bad)
		if !bad {
			return readErr, false
		}
		err = errors.Join(err, fmt.Errorf("read from %s: %w", n.name, readErr))
	}
	return err, true
}
