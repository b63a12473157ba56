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
	pool atomic.Pointer[pgxpool.Pool] // nil while nobody may use the server
	probe
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

// see looks at the server.
func (n *node) see(ctx context.Context) sighting {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	n.mu.Lock()
	defer n.mu.Unlock()
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

// open lets the server be used. It connects in the background.
func (n *node) open() error {
	if n.pool.Load() != nil {
		return nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), n.cfg.Copy())
	if err != nil {
		return fmt.Errorf("open a pool to %s: %w", n.name, err)
	}
	n.pool.Store(pool)
	return nil
}

// shut ends all connections to the server: the idle ones now, the others as soon as they are given back.
func (n *node) shut() {
	if pool := n.pool.Swap(nil); pool != nil {
		pool.Reset()
		go pool.Close() // waits for those that are in use
	}
}
