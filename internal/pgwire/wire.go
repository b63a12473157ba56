// Package pgwire speaks PostgreSQL's replication protocol: base backups and the write-ahead log, from a server
// anywhere, without its binaries or an agent beside it.
package pgwire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// maxMessage bounds the messages that are taken into memory whole; the data of a backup is streamed.
const maxMessage = 64 << 20

// conn is a replication connection, on which ordinary simple queries work too.
type conn struct {
	c      net.Conn
	r      *bufio.Reader
	notice func(*pgconn.PgError)
	stop   func() bool // ends the watch on the context
}

// connect opens a replication connection to the database that dsn names (a URL or key=value pairs, completed by the
// PG* environment). Everything on it ends with ctx. notice gets the server's warnings.
func connect(ctx context.Context, dsn string, notice func(*pgconn.PgError)) (*conn, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["replication"] = "database"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "covet"
	}
	// A backup may pause for long on a slow store.
	cfg.RuntimeParams["wal_sender_timeout"] = "0"
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_session_timeout"] = "0"
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 15 * time.Second
	}
	// A network that was cut says nothing, and a backup only reads: without these it would wait for most of an hour.
	cfg.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 6}}).DialContext
	return open(ctx, cfg, notice)
}

// open connects as cfg says, and takes the connection over.
func open(ctx context.Context, cfg *pgconn.Config, notice func(*pgconn.PgError)) (*conn, error) {
	// After a slow write pgconn reads ahead in the background, so only its own reader has all that the server says.
	var r io.Reader
	build := cfg.BuildFrontend
	cfg.BuildFrontend = func(from io.Reader, w io.Writer) *pgproto3.Frontend {
		r = from
		return build(from, w)
	}
	pc, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	h, err := pc.Hijack()
	if err == nil && h.Frontend.ReadBufferLen() > 0 {
		err = errors.New("the server spoke unasked")
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close(ctx))
	}
	c := &conn{c: h.Conn, r: bufio.NewReaderSize(r, 128<<10), notice: notice}
	c.stop = context.AfterFunc(ctx, func() { _ = h.Conn.SetDeadline(time.Unix(1, 0)) }) // wakes whoever reads or writes
	return c, nil
}

// close says goodbye, where the server still listens, and closes the connection.
func (c *conn) close() error {
	c.stop()
	_ = c.send('X', nil) // the server sees the end either way
	return c.c.Close()
}

func (c *conn) send(typ byte, body []byte) error {
	msg := binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4))
	_, err := c.c.Write(append(msg, body...))
	return err
}

func (c *conn) query(sql string) error { return c.send('Q', append([]byte(sql), 0)) }

// header reads the beginning of the next message that isn't a notice or the like: its type and the length of its body,
// which the caller reads. An error of the server is returned as a *pgconn.PgError.
func (c *conn) header() (typ byte, n int, err error) {
	for {
		var h [5]byte
		if _, err := io.ReadFull(c.r, h[:]); err == io.EOF {
			return 0, 0, fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
		} else if err != nil {
			return 0, 0, err
		}
		n = int(binary.BigEndian.Uint32(h[1:])) - 4
		if n < 0 {
			return 0, 0, fmt.Errorf("the server sent a message of length %d", n)
		}
		switch h[0] {
		case 'E', 'N':
			if err := c.report(h[0], n); err != nil {
				return 0, 0, err
			}
		case 'S', 'A':
			if _, err := c.r.Discard(n); err != nil {
				return 0, 0, err
			}
		default:
			return h[0], n, nil
		}
	}
}

// report reads an error, which it returns, or a notice, which it passes on.
func (c *conn) report(typ byte, n int) error {
	b, err := c.body(n)
	if err != nil {
		return err
	}
	var m pgproto3.ErrorResponse
	if err := m.Decode(b); err != nil {
		return err
	}
	pe := pgconn.ErrorResponseToPgError(&m)
	if typ == 'E' {
		return pe
	}
	if c.notice != nil {
		c.notice(pe)
	}
	return nil
}

func (c *conn) body(n int) ([]byte, error) {
	if n > maxMessage {
		return nil, fmt.Errorf("the server sent a message of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c.r, b)
	return b, err
}

// rows reads one result set up to its CommandComplete. NULL is an empty string.
func (c *conn) rows() ([][]string, error) {
	var out [][]string
	for {
		typ, n, err := c.header()
		if err != nil {
			return nil, err
		}
		b, err := c.body(n)
		if err != nil {
			return nil, err
		}
		switch typ {
		case 'T':
		case 'D':
			var row pgproto3.DataRow
			if err := row.Decode(b); err != nil {
				return nil, err
			}
			var fields []string
			for _, v := range row.Values {
				fields = append(fields, string(v))
			}
			out = append(out, fields)
		case 'C':
			return out, nil
		default:
			return nil, fmt.Errorf("the server sent %q where a result was expected", typ)
		}
	}
}

// ready reads to the end of a command.
func (c *conn) ready() error {
	for {
		typ, n, err := c.header()
		if err != nil {
			return err
		}
		if _, err := c.r.Discard(n); err != nil {
			return err
		}
		if typ == 'Z' {
			return nil
		}
	}
}

// row runs a command that yields one row of at least n fields.
func (c *conn) row(sql string, n int) ([]string, error) {
	if err := c.query(sql); err != nil {
		return nil, err
	}
	rows, err := c.rows()
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) < n {
		return nil, fmt.Errorf("%s: the server answered %d rows", sql, len(rows))
	}
	return rows[0], c.ready()
}
