package pg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How often servers are looked at: a lone one only to be told of its absence, several to know who is the primary and how
// far the others are behind. A failed statement has them looked at at once.
const (
	lookAlone    = 30 * time.Second
	lookTogether = time.Second
	lookAgain    = 250 * time.Millisecond // while there is no primary
)

// DB is a database: a primary, and perhaps replicas. Its methods are safe for concurrent use.
type DB struct {
	cfg   Config
	nodes []*node
	view  atomic.Pointer[view]
	turn  atomic.Uint64

	wake    chan struct{}
	changed chan struct{} // closed and replaced at each new view
	mu      sync.Mutex    // guards changed
	end     context.CancelFunc
	running sync.WaitGroup
}

// Open makes a DB from its configuration. It connects at [DB.Start].
func Open(cfg Config) (*DB, error) {
	cfg = cfg.withDefaults()
	d := &DB{cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{}), end: func() {}}
	known := map[string]bool{}
	for i, url := range append([]string{cfg.URL}, cfg.Replicas...) {
		servers, err := cfg.servers(url)
		if err != nil && i == 0 {
			return nil, fmt.Errorf("DATABASE_URL %w", err)
		} else if err != nil {
			return nil, fmt.Errorf("DATABASE_REPLICA_%d_URL %w", i, err)
		}
		for _, s := range servers {
			if n := newNode(s); !known[n.name] {
				known[n.name] = true
				d.nodes = append(d.nodes, n)
			}
		}
	}
	d.view.Store(&view{roles: make([]Role, len(d.nodes)), seen: make([]sighting, len(d.nodes)), primary: -1})
	return d, nil
}

// Start looks at the servers for the first time, and goes on in the background until [DB.Close]. A database that is away
// is no error: it is connected to as soon as it answers.
func (d *DB) Start(ctx context.Context) error {
	life, end := context.WithCancel(context.Background())
	d.end = end
	d.lookAround(ctx, probeTimeout)
	d.running.Go(func() { d.watch(life) })
	return nil
}

// Close ends all connections.
func (d *DB) Close(context.Context) error {
	d.end()
	d.running.Wait()
	for _, n := range d.nodes {
		n.shut()
		n.disown()
		n.mu.Lock()
		n.hangUp()
		n.mu.Unlock()
	}
	return nil
}

func (d *DB) watch(ctx context.Context) {
	for {
		wait := time.NewTimer(d.interval())
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		case <-d.wake:
			wait.Stop()
		}
		d.lookAround(ctx, patience)
	}
}

func (d *DB) interval() time.Duration {
	switch {
	case d.view.Load().primary < 0:
		return lookAgain
	case len(d.nodes) > 1:
		return lookTogether
	}
	return lookAlone
}

// patience is how long the news of a server is kept back for those that were away and may be so still.
const patience = 300 * time.Millisecond

// lookAround looks at all servers, side by side, and opens and shuts pools by what it sees. Servers that were away are
// waited for no longer than the given time.
func (d *DB) lookAround(ctx context.Context, wait time.Duration) {
	before := d.view.Load()
	seen := d.look(ctx, before, wait)
	if ctx.Err() != nil {
		return
	}
	next := before.next(seen)
	for i, n := range d.nodes {
		d.follow(n, before.roles[i], next.roles[i], seen[i].err)
		if next.primary >= 0 && next.primary != i {
			n.disown()
		}
	}
	d.view.Store(&next)
	d.mu.Lock()
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
}

// look asks all servers, and returns what is known of them once those that are expected to answer have, or have not.
func (d *DB) look(ctx context.Context, before *view, wait time.Duration) []sighting {
	type news struct {
		of int
		sighting
	}
	out := make(chan news, len(d.nodes))
	seen, expected := make([]sighting, len(d.nodes)), 0
	for i, n := range d.nodes {
		if before.roles[i] != Away {
			expected++
		}
		seen[i] = sighting{role: Away, err: errNoAnswer, at: time.Now()}
		if before.seen[i].err != nil {
			seen[i].err = before.seen[i].err
		}
		go func() { out <- news{i, n.see(ctx)} }()
	}
	enough := time.NewTimer(wait)
	defer enough.Stop()
	late := false
	for got := 0; got < len(d.nodes) && (expected > 0 || !late); {
		select {
		case s := <-out:
			got++
			seen[s.of] = s.sighting
			if before.roles[s.of] != Away {
				expected--
			}
		case <-enough.C:
			late = true
		}
	}
	return seen
}

// follow gives a server the pool that its role asks for. Every change of role ends its connections: what was begun on a
// primary must not go on on a standby.
func (d *DB) follow(n *node, before, now Role, cause error) {
	if before != now {
		n.shut()
		log := d.cfg.Log.With("server", n.name, "was", before.String(), "is", now.String())
		switch now {
		case Away:
			log.Warn("a database server does not answer", "error", cause)
		case Retired:
			log.Warn("a database server takes writes although another was promoted after it; it is left alone")
		default:
			log.Info("a database server answers")
		}
	}
	if now == Primary || now == Replica {
		if err := n.open(); err != nil {
			d.cfg.Log.Error("a database server cannot be used", "server", n.name, "error", err)
		}
	}
}

// Doubt has the servers looked at now: one of them failed somebody who uses a pool by itself.
func (d *DB) Doubt() { d.doubt() }

func (d *DB) doubt() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// await returns when the servers have been looked at once more.
func (d *DB) await(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	}
}

func (d *DB) nextView() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// borrow takes a connection of a server's pool.
func (d *DB) borrow(ctx context.Context, n *node, u *use) (*pgxpool.Conn, error) {
	open, cancel := until(ctx, u.closed)
	defer cancel()
	limit, cancel := context.WithTimeout(open, d.cfg.AcquireTimeout)
	defer cancel()
	conn, err := u.pool.Acquire(limit)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() == nil && u.closed.Err() != nil:
		return nil, fmt.Errorf("%s: %w", n.name, ErrNoServer)
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no connection to %s became free within %v: all %d are in use (DATABASE_POOL_SIZE, DATABASE_MAX_OVERFLOW): %w",
			n.name, d.cfg.AcquireTimeout, u.pool.Config().MaxConns, err)
	}
	return nil, err
}

// giveBack returns a connection. One whose statement failed for the server's sake is not used again.
func giveBack(c *pgxpool.Conn, bad bool) {
	if bad {
		raw := c.Hijack()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = raw.Close(ctx) // it is bad already
		return
	}
	c.Release()
}

// Querier is what a read may do.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
