package pgwire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// Sink takes what is received of the log. When a method returns nil, what it got is durable.
type Sink interface {
	// Live gets the beginning of a segment that goes on growing.
	Live(ctx context.Context, s backup.Segment, data []byte) error
	// Whole gets a full segment.
	Whole(ctx context.Context, s backup.Segment, data []byte) error
}

// Receive streams a server's log through a permanent replication slot, made where it isn't there, until ctx ends. What
// has come of a segment goes to the sink at every tick. The slot advances only over segments that the sink has whole: a
// receiver that died, or was away, misses nothing.
func Receive(ctx context.Context, dsn, slot string, every time.Duration, notice func(*pgconn.PgError), open func(Server) (Sink, error)) (err error) {
	c, err := dial(ctx, dsn, notice)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	w := &WAL{c: c, slot: slot}
	if w.srv, err = c.identify(); err != nil {
		return err
	}
	at, err := w.permanentSlot()
	if err != nil {
		return err
	}
	sink, err := open(w.srv)
	if err != nil {
		return err
	}
	first := backup.SegmentAt(w.srv.Timeline, at, w.srv.SegmentSize)
	if err := w.begin(first); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	data := make(chan []byte, 16)
	go func() {
		defer close(data)
		cancel(w.pump(ctx, first, data))
	}()
	return w.deliver(ctx, first, every, data, sink)
}

// permanentSlot makes the slot where it isn't there, and returns from where on it holds the log.
func (w *WAL) permanentSlot() (backup.LSN, error) {
	const find = "SELECT slot_type, coalesce(restart_lsn::text, ''), active FROM pg_replication_slots WHERE slot_name = "
	if strings.Trim(w.slot, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || w.slot == "" {
		return 0, fmt.Errorf("slot %q: a name has lower-case letters, digits and underscores", w.slot)
	}
	if err := w.c.query(find + quote(w.slot)); err != nil {
		return 0, err
	}
	rows, err := w.c.rows()
	if err == nil {
		err = w.c.ready()
	}
	if err != nil {
		return 0, fmt.Errorf("look for slot %s: %w", w.slot, err)
	}
	switch {
	case len(rows) == 0:
		if _, err := w.c.row("CREATE_REPLICATION_SLOT "+w.slot+" PHYSICAL RESERVE_WAL", 1); err != nil {
			return 0, fmt.Errorf("make slot %s: %w", w.slot, err)
		}
		return w.srv.At, nil
	case rows[0][0] != "physical":
		return 0, fmt.Errorf("slot %s is a %s one: choose another name", w.slot, rows[0][0])
	case rows[0][2] == "t":
		return 0, fmt.Errorf("slot %s is in use: another receiver is running", w.slot)
	case rows[0][1] == "":
		return 0, fmt.Errorf("slot %s has lost its place in the log: drop it, and make a new backup", w.slot)
	}
	return backup.ParseLSN(rows[0][1])
}

// pump reads the stream and passes its data on, until the connection or the context ends.
func (w *WAL) pump(ctx context.Context, first backup.Segment, out chan<- []byte) error {
	next := first.Start(w.srv.SegmentSize)
	for {
		b, err := w.fill(ctx, nil, next)
		if err != nil {
			return err
		}
		next += backup.LSN(len(b))
		select {
		case out <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// deliver cuts the data into segments and hands them to the sink.
func (w *WAL) deliver(ctx context.Context, seg backup.Segment, every time.Duration, data <-chan []byte, sink Sink) error {
	size := w.srv.SegmentSize
	tick := time.NewTicker(every)
	defer tick.Stop()
	buf := make([]byte, 0, size)
	stored := 0
	for {
		select {
		case b, ok := <-data:
			if !ok {
				return context.Cause(ctx)
			}
			buf = append(buf, b...)
		case <-tick.C:
			if len(buf) > stored {
				if err := sink.Live(ctx, seg, buf); err != nil {
					return err
				}
				stored = len(buf)
			}
		}
		for ; int64(len(buf)) >= size; seg.No++ {
			if err := sink.Whole(ctx, seg, buf[:size]); err != nil {
				return err
			}
			buf, stored = append(buf[:0], buf[size:]...), 0
			if err := w.confirm(seg.End(size)); err != nil {
				return err
			}
		}
	}
}
