package pgwire

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	pgtest "github.com/covetpy/covet/test/pg"
)

// slowConn takes its time to return from a write, as a thread of a machine under load does.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	time.Sleep(60 * time.Millisecond)
	return n, err
}

// The first answer on a connection whose writes were slow once waited for ever: pgconn had read it.
func TestSlowWritesLoseNoAnswer(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	cfg, err := pgconn.ParseConfig(pg.DSN())
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["replication"] = "database"
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return slowConn{c}, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := open(ctx, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }() // the answer is what counts
	if s, err := c.identify(); err != nil || s.System == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
