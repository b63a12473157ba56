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
	return d.persist(ctx, func() (error, bool) { return d.readOnce(ctx, f) })
}

// persist tries until it is done, each time after another look at the servers, for AcquireTimeout at most.
func (d *DB) persist(ctx context.Context, try func() (err error, again bool)) error {
	deadline := time.Now().Add(d.cfg.AcquireTimeout)
	for {
		changed := d.nextView()
		err, again := try()
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
		found, done := d.readFrom(ctx, d.nodes[i], f)
		if done {
			return found, false
		}
		err = errors.Join(err, found)
	}
	return err, ctx.Err() == nil
}

// readFrom runs f on one server. done says that there is no point in asking another.
func (d *DB) readFrom(ctx context.Context, n *node, f func(ctx context.Context, q Querier) error) (err error, done bool) {
	u := n.use.Load()
	if u == nil {
		return fmt.Errorf("%s: %w", n.name, ErrNoServer), false
	}
	conn, err := d.borrow(ctx, n, u)
	if err != nil {
		return err, ctx.Err() != nil
	}
	open, cancel := until(ctx, u.closed)
	defer cancel()
	err = f(open, conn)
	gone := err != nil && u.closed.Err() != nil
	bad := (gone || lost(err, conn.Conn().IsClosed())) && ctx.Err() == nil
	giveBack(conn, bad)
	if bad {
		return fmt.Errorf("read from %s: %w", n.name, err), false
	}
	return err, true
}
