package pg

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Role is what a server is to us.
type Role int

// Roles of a server.
const (
	Away    Role = iota // does not answer
	Primary             // takes writes
	Replica             // follows the primary
	Retired             // takes writes, but another server was promoted after it: its data have parted from ours
)

func (r Role) String() string {
	return [...]string{"away", "primary", "replica", "retired"}[r]
}

// sighting is what one look at a server found.
type sighting struct {
	role     Role // Away, Primary or Replica: one server alone cannot know that it is retired
	timeline uint32
	lsn      LSN // written on a primary, replayed on a replica
	at       time.Time
	err      error // of a server that is away
}

// node is one server: its pool, and the connection that looks at it.
type node struct {
	name string // host:port
	cfg  *pgxpool.Config
	use  atomic.Pointer[use] // nil while nobody may use the server
	past past
	probe
}

// use is the time that a server is used: a pool, and what ends that which is under way in it.
type use struct {
	pool     *pgxpool.Pool
	closed   context.Context // ends when nothing more may begin: reads are given up then, and begun again elsewhere
	disowned context.Context // ends when the server is not what it was, or another is: writes are given up too
	close    context.CancelFunc
	disown   context.CancelFunc
}

// probe is a connection of its own, so that a busy pool does not make a server look dead.
type probe struct {
	mu   sync.Mutex
	conn *pgx.Conn
}

func newNode(cfg *pgxpool.Config) *node {
	return &node{cfg: cfg, name: net.JoinHostPort(cfg.ConnConfig.Host, strconv.Itoa(int(cfg.ConnConfig.Port)))}
}

// look asks whether a server is in recovery, on which timeline it writes, and how far it has come.
const look = `SELECT r, CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
	CASE WHEN r THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END
	FROM (SELECT pg_is_in_recovery() AS r) AS x`

// probeTimeout bounds one look.
const probeTimeout = 2 * time.Second

// errNoAnswer is what is said of a server that has not answered yet.
var errNoAnswer = fmt.Errorf("no answer within %v", probeTimeout)

// see looks at the server. While somebody else still waits for its answer it is away.
func (n *node) see(ctx context.Context) sighting {
	if !n.mu.TryLock() {
		return sighting{role: Away, err: errNoAnswer, at: time.Now()}
	}
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	s, err := n.ask(ctx)
	if err != nil {
		n.hangUp()
		return sighting{role: Away, err: err, at: time.Now()}
	}
	return s
}

func (n *node) ask(ctx context.Context) (sighting, error) {
	if n.conn == nil {
		c := n.cfg.ConnConfig.Copy()
		c.RuntimeParams["application_name"] += " (health)"
		conn, err := pgx.ConnectConfig(ctx, c)
		if err != nil {
			return sighting{}, err
		}
		n.conn = conn
	}
	at := time.Now()
	var standby bool
	var lsn *string
	var timeline string
	if err := n.conn.QueryRow(ctx, look).Scan(&standby, &lsn, &timeline); err != nil {
		return sighting{}, err
	}
	s := sighting{role: Primary, at: at}
	if standby {
		s.role = Replica
	} else if t, err := strconv.ParseUint(timeline, 16, 32); err == nil {
		s.timeline = uint32(t)
	}
	if lsn != nil {
		at, err := ParseLSN(*lsn)
		if err != nil {
			return sighting{}, fmt.Errorf("position %q: %w", *lsn, err)
		}
		s.lsn = at
	}
	return s, nil
}

// hangUp ends the connection that looks.
func (n *node) hangUp() {
	if n.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.conn.Close(ctx) // whatever it says, we have done with it
	n.conn = nil
}

// pool is the server's pool, or nil.
func (n *node) pool() *pgxpool.Pool {
	if u := n.use.Load(); u != nil {
		return u.pool
	}
	return nil
}

// open lets the server be used. It connects in the background.
func (n *node) open() error {
	if n.use.Load() != nil {
		return nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), n.cfg.Copy())
	if err != nil {
		return fmt.Errorf("open a pool to %s: %w", n.name, err)
	}
	u := &use{pool: pool}
	u.closed, u.close = context.WithCancel(context.Background())
	u.disowned, u.disown = context.WithCancel(context.Background())
	n.use.Store(u)
	return nil
}

// past is what was begun before a server was shut, and is still under way.
type past struct {
	mu   sync.Mutex
	uses map[*use]struct{}
}

// shut ends the idle connections to the server and the reads. Writes that are under way may finish, and their
// connections end then: a server that was only slow has done what it was asked.
func (n *node) shut() {
	u := n.use.Swap(nil)
	if u == nil {
		return
	}
	n.past.mu.Lock()
	if n.past.uses == nil {
		n.past.uses = map[*use]struct{}{}
	}
	n.past.uses[u] = struct{}{}
	n.past.mu.Unlock()
	u.close()
	u.pool.Reset()
	go func() {
		u.pool.Close() // waits for what is under way
		u.disown()
		n.past.mu.Lock()
		delete(n.past.uses, u)
		n.past.mu.Unlock()
	}()
}

// disown gives up the writes that are under way too: they lead to a server that is the primary no more, which may answer
// them much later, or never.
func (n *node) disown() {
	n.past.mu.Lock()
	defer n.past.mu.Unlock()
	for u := range n.past.uses {
		u.disown()
	}
}

// until is a context that ends with ctx, and with end.
func until(ctx, end context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(end, cancel)
	return ctx, func() { stop(); cancel() }
}
