package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ServerState is what is known of one server.
type ServerState struct {
	Name  string // host:port
	Role  Role
	Lag   time.Duration // of a replica
	Error error         // of one that is away

	Total, Used, Idle, Max int32 // connections
	Waits                  int64 // how often somebody had to wait for one, since the pool was opened
	Waited                 time.Duration
}

// States says what is known of each server, in the order of the configuration.
func (d *DB) States() []ServerState {
	v, now := d.view.Load(), time.Now()
	out := make([]ServerState, len(d.nodes))
	for i, n := range d.nodes {
		s := ServerState{Name: n.name, Role: v.roles[i], Error: v.seen[i].err}
		if s.Role == Replica {
			s.Lag = v.lag(i, now)
		}
		if pool := n.pool(); pool != nil {
			st := pool.Stat()
			s.Total, s.Used, s.Idle, s.Max = st.TotalConns(), st.AcquiredConns(), st.IdleConns(), st.MaxConns()
			s.Waits, s.Waited = st.EmptyAcquireCount(), st.EmptyAcquireWaitTime()
		}
		out[i] = s
	}
	return out
}

// CheckServer asks the server at an index of [DB.States] for SELECT 1, through its pool.
func (d *DB) CheckServer(ctx context.Context, i int) error {
	n, v := d.nodes[i], d.view.Load()
	switch v.roles[i] {
	case Retired:
		return fmt.Errorf("%s takes writes although another server was promoted after it", n.name)
	case Away:
		d.doubt()
		if err := v.seen[i].err; err != nil {
			return fmt.Errorf("%s does not answer: %w", n.name, err)
		}
		return fmt.Errorf("%s has not answered yet", n.name)
	}
	u := n.use.Load()
	if u == nil {
		d.doubt()
		return fmt.Errorf("%s: %w", n.name, ErrNoServer)
	}
	ctx, cancel := until(ctx, u.closed)
	defer cancel()
	conn, err := d.borrow(ctx, n, u)
	if err != nil {
		d.doubt()
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1")
	bad := err != nil
	giveBack(conn, bad)
	if bad {
		d.doubt()
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// CheckPrimary asks the primary for SELECT 1.
func (d *DB) CheckPrimary(ctx context.Context) error {
	if p := d.view.Load().primary; p >= 0 {
		return d.CheckServer(ctx, p)
	}
	d.doubt()
	return errors.Join(ErrNoPrimary, d.troubles())
}

// CheckAny asks whether any server can be read.
func (d *DB) CheckAny(ctx context.Context) error {
	err := d.CheckPrimary(ctx)
	for i, role := range d.view.Load().roles {
		if err == nil {
			return nil
		}
		if role == Replica {
			err = d.CheckServer(ctx, i)
		}
	}
	return err
}

func (d *DB) troubles() error {
	v := d.view.Load()
	var errs []error
	for i, s := range v.seen {
		if s.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.nodes[i].name, s.err))
		}
	}
	return errors.Join(errs...)
}

// Writable says whether a primary is known at present.
func (d *DB) Writable() bool { return d.view.Load().primary >= 0 }

// PrimaryPool is the pool of the server that is the primary at present, or nil, and a channel that is closed at the next
// look at the servers: for libraries that want a pool. Whoever holds it has to let go when it is another.
func (d *DB) PrimaryPool() (*pgxpool.Pool, <-chan struct{}) {
	changed := d.nextView()
	if p := d.view.Load().primary; p >= 0 {
		return d.nodes[p].pool(), changed
	}
	return nil, changed
}
