package pgwire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// WAL implements backup.WALSource over a replication connection. A temporary slot, which ends with the connection,
// keeps the server from removing what has yet to be read.
type WAL struct {
	c    *conn
	srv  Server
	slot string
	// durable is the LSN that was confirmed last: all that the server may forget.
	durable atomic.Uint64
}

// OpenWAL connects and, where the server has a slot to give, reserves its log from now on. Where it has none, notice
// gets a warning and the log is only what the server happens to keep.
func OpenWAL(ctx context.Context, dsn string, notice func(*pgconn.PgError)) (*WAL, error) {
	c, err := dial(ctx, dsn, notice)
	if err != nil {
		return nil, err
	}
	w := &WAL{c: c}
	if w.srv, err = c.identify(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	slot := "covet_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	_, err = c.row("CREATE_REPLICATION_SLOT "+slot+" TEMPORARY PHYSICAL RESERVE_WAL", 1)
	var pe *pgconn.PgError
	switch {
	case err == nil:
		w.slot = slot
	case errors.As(err, &pe):
		if err := c.ready(); err != nil {
			return nil, errors.Join(err, c.close())
		}
		if notice != nil {
			notice(pe)
		}
	default:
		return nil, errors.Join(err, c.close())
	}
	return w, nil
}

// Server is what the server said of itself when it was connected to.
func (w *WAL) Server() Server { return w.srv }

// Close ends the connection and gives up the slot.
func (w *WAL) Close() error { return w.c.close() }

// History implements backup.WALSource.
func (w *WAL) History(_ context.Context, t backup.Timeline) ([]byte, error) {
	row, err := w.c.row("TIMELINE_HISTORY "+strconv.FormatUint(uint64(t), 10), 2)
	if err != nil {
		return nil, err
	}
	return []byte(row[1]), nil
}

// Segments implements backup.WALSource. It must be the last thing asked of the connection.
func (w *WAL) Segments(ctx context.Context, first, last backup.Segment, sink func(string, []byte) error) error {
	size := w.srv.SegmentSize
	if err := w.begin(first); err != nil {
		return err
	}
	buf := make([]byte, 0, size)
	for seg := first; seg.No <= last.No; {
		var err error
		if buf, err = w.fill(ctx, buf, seg.Start(size)); err != nil {
			return err
		}
		if int64(len(buf)) < size {
			continue
		}
		if err := sink(seg.Name(size), buf[:size]); err != nil {
			return err
		}
		buf = append(buf[:0], buf[size:]...)
		seg.No++
		if err := w.confirm(seg.Start(size)); err != nil {
			return err
		}
	}
	return nil
}

// begin makes the server send its log from the start of a segment.
func (w *WAL) begin(first backup.Segment) error {
	w.durable.Store(uint64(first.Start(w.srv.SegmentSize)))
	cmd := "START_REPLICATION "
	if w.slot != "" {
		cmd += "SLOT " + w.slot + " "
	}
	cmd += fmt.Sprintf("PHYSICAL %s TIMELINE %d", first.Start(w.srv.SegmentSize), first.Timeline)
	if err := w.c.query(cmd); err != nil {
		return err
	}
	typ, n, err := w.c.header()
	if err != nil {
		return err
	}
	if typ != 'W' {
		return fmt.Errorf("the server sent %q where the log was expected", typ)
	}
	_, err = w.c.r.Discard(n)
	return err
}

// fill appends the log of one message to buf, which begins at start.
func (w *WAL) fill(ctx context.Context, buf []byte, start backup.LSN) ([]byte, error) {
	typ, n, err := w.c.header()
	if err != nil {
		return buf, errors.Join(err, ctx.Err())
	}
	b, err := w.c.body(n)
	if err != nil {
		return buf, err
	}
	switch {
	case typ == 'd' && len(b) >= 25 && b[0] == 'w':
		at := backup.LSN(binary.BigEndian.Uint64(b[1:]))
		if want := start + backup.LSN(len(buf)); at != want {
			return buf, fmt.Errorf("the server sent its log from %s instead of %s", at, want)
		}
		return append(buf, b[25:]...), nil
	case typ == 'd' && len(b) >= 18 && b[0] == 'k':
		if b[17] == 1 {
			err = w.confirm(backup.LSN(w.durable.Load()))
		}
		return buf, err
	case typ == 'c':
		return buf, errTimelineEnds
	}
	return buf, fmt.Errorf("the server sent %q within its log", typ)
}

// errTimelineEnds is returned by fill where the server's log goes on on another timeline.
var errTimelineEnds = errors.New("the server's log goes on on another timeline")

// confirm tells the server that everything before an LSN is stored.
func (w *WAL) confirm(at backup.LSN) error {
	w.durable.Store(uint64(at))
	msg := []byte{'r'}
	for range 3 {
		msg = binary.BigEndian.AppendUint64(msg, uint64(at))
	}
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	msg = binary.BigEndian.AppendUint64(msg, uint64(time.Since(epoch).Microseconds()))
	return w.c.send('d', append(msg, 0))
}
