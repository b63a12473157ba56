package pgwire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// Sink takes what is received of the log. When a method returns nil, what it got is durable.
type Sink interface {
	// Live gets the beginning of a segment that goes on growing, or that its timeline ended in.
	Live(ctx context.Context, s backup.Segment, data []byte) error
	// Whole gets a full segment.
	Whole(ctx context.Context, s backup.Segment, data []byte) error
	// History gets a timeline's .history file.
	History(ctx context.Context, t backup.Timeline, data []byte) error
	// Resume is the number of the segment from which on the log is lacking, on the way to a timeline with this history; ok
	// is false where nothing is there yet.
	Resume(ctx context.Context, t backup.Timeline, h backup.History) (no uint64, ok bool, err error)
}

// ReceiveOptions say how to receive.
type ReceiveOptions struct {
	Slot string
	// Every is how often the beginning of the present segment goes to the sink.
	Every time.Duration
	// Synchronous stores whatever has come at once, so that commits that wait for it don't wait long.
	Synchronous bool
	Notice      func(*pgconn.PgError)
	// Gap is told of segments that neither the sink nor the server has any longer.
	Gap func(first, behind backup.Segment)
}

// silence is how long a server may say nothing: it speaks at least twice in senderTimeout.
const (
	senderTimeout = 30 * time.Second
	silence       = 2 * senderTimeout
)

// Receive streams a server's log through a permanent replication slot, made where it isn't there, until ctx or the
// connection ends. What has come of a segment goes to the sink at every tick, and the server is told so. It begins
// where the sink's log ends, as far as the server still has it, and follows the server from one timeline to the next: a
// receiver that died, or was away, misses nothing.
func Receive(ctx context.Context, dsn string, o ReceiveOptions, open func(Server) (Sink, error)) (err error) {
	c, err := dial(ctx, dsn, o.Notice)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	r := &receiver{WAL: &WAL{c: c, slot: o.Slot}, o: o}
	if r.srv, err = c.identify(); err != nil {
		return err
	}
	if _, err := c.row("SELECT set_config('wal_sender_timeout', '"+senderTimeout.String()+"', false)", 1); err != nil {
		return err
	}
	at, err := r.permanentSlot()
	if err != nil {
		return err
	}
	if r.sink, err = open(r.srv); err != nil {
		return err
	}
	seg, err := r.start(ctx, at)
	for err == nil {
		seg, err = r.timeline(ctx, seg)
	}
	return err
}

// receiver is one connection that receives.
type receiver struct {
	*WAL
	o    ReceiveOptions
	sink Sink
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

// start begins to stream from where the sink's log ends, or from where the slot holds the log when the server has
// nothing earlier.
func (r *receiver) start(ctx context.Context, slot backup.LSN) (backup.Segment, error) {
	history, err := r.history(ctx, r.srv.Timeline)
	if err != nil {
		return backup.Segment{}, err
	}
	size := r.srv.SegmentSize
	segment := func(no uint64) backup.Segment {
		return backup.Segment{Timeline: history.At(r.srv.Timeline, backup.LSN(no*uint64(size))), No: no}
	}
	held := segment(uint64(slot) / uint64(size))
	no, ok, err := r.sink.Resume(ctx, r.srv.Timeline, history)
	if err != nil {
		return held, err
	}
	if !ok || no >= held.No {
		return held, r.begin(held)
	}
	lacking := segment(no)
	err = r.begin(lacking)
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return lacking, err
	}
	if err := r.c.ready(); err != nil {
		return held, err
	}
	if r.o.Gap != nil {
		r.o.Gap(lacking, held)
	}
	return held, r.begin(held)
}

// history reads where a timeline comes from, and hands it on.
func (r *receiver) history(ctx context.Context, t backup.Timeline) (backup.History, error) {
	if t <= 1 {
		return nil, nil
	}
	data, err := r.History(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("read the history of timeline %d: %w", t, err)
	}
	h, err := backup.ParseHistory(data)
	if err != nil {
		return nil, err
	}
	return h, r.sink.History(ctx, t, data)
}

// timeline receives what there is of one timeline, and begins to stream the one that follows it.
func (r *receiver) timeline(ctx context.Context, seg backup.Segment) (next backup.Segment, err error) {
	pumping, cancel := context.WithCancelCause(ctx)
	data := make(chan []byte, 16)
	ended := make(chan struct{})
	first := seg
	go func() {
		defer close(ended)
		defer close(data)
		cancel(r.pump(pumping, first, data))
	}()
	err = r.deliver(ctx, pumping, seg, data)
	if !errors.Is(err, errTimelineEnds) {
		cancel(err)
		_ = r.c.c.SetReadDeadline(time.Unix(1, 0)) // wakes the pump; the connection is given up anyway
		<-ended
		return seg, err
	}
	<-ended
	t, at, err := r.nextTimeline()
	if err != nil {
		return seg, fmt.Errorf("follow the server to its next timeline: %w", err)
	}
	if _, err := r.history(ctx, t); err != nil {
		return seg, err
	}
	r.srv.Timeline = t
	next = backup.SegmentAt(t, at, r.srv.SegmentSize)
	return next, r.begin(next)
}

// nextTimeline ends the stream that the server has ended, and reads what follows: the timeline, and where it begins.
func (r *receiver) nextTimeline() (backup.Timeline, backup.LSN, error) {
	if err := r.c.send('c', nil); err != nil {
		return 0, 0, err
	}
	rows, err := r.c.rows()
	if err == nil {
		err = r.c.ready()
	}
	if err != nil {
		return 0, 0, err
	}
	if len(rows) != 1 || len(rows[0]) < 2 {
		return 0, 0, errors.New("the server named no timeline that follows")
	}
	t, err := strconv.ParseUint(rows[0][0], 10, 32)
	if err != nil {
		return 0, 0, err
	}
	at, err := backup.ParseLSN(rows[0][1])
	return backup.Timeline(t), at, err
}

// pump reads the stream and passes its data on, until the timeline, the connection or the context ends. A server that
// waits for a slow sink is told that it is waited for.
func (r *receiver) pump(ctx context.Context, first backup.Segment, out chan<- []byte) error {
	next := first.Start(r.srv.SegmentSize)
	alive := time.NewTicker(senderTimeout / 3)
	defer alive.Stop()
	for {
		if err := r.c.c.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := r.fill(ctx, nil, next)
		if err != nil {
			return err
		}
		next += backup.LSN(len(b))
		for sent := len(b) == 0; !sent; {
			select {
			case out <- b:
				sent = true
			case <-alive.C:
				if err := r.confirm(backup.LSN(r.durable.Load())); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// lastMoment bounds what is still stored when the receiver is told to stop.
const lastMoment = 20 * time.Second

// deliver cuts the data into segments and hands them to the sink. It returns why the data ended, which is the cause of
// pumping's end.
func (r *receiver) deliver(ctx, pumping context.Context, seg backup.Segment, data <-chan []byte) error {
	size := r.srv.SegmentSize
	tick := time.NewTicker(r.o.Every)
	defer tick.Stop()
	buf := make([]byte, 0, size)
	stored := 0
	live := func() error {
		if len(buf) == stored {
			return nil
		}
		ctx, cancel := ctx, context.CancelFunc(func() {})
		if ctx.Err() != nil {
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
		}
		defer cancel()
		if err := r.sink.Live(ctx, seg, buf); err != nil {
			return err
		}
		stored = len(buf)
		return r.confirm(seg.Start(size) + backup.LSN(stored))
	}
	for {
		var now bool
		select {
		case b, ok := <-data:
			if !ok { // what has come is stored, whatever ended it
				cause := context.Cause(pumping)
				if err := live(); err != nil && errors.Is(cause, errTimelineEnds) {
					return err
				}
				return cause
			}
			buf = append(buf, b...)
			now = r.o.Synchronous && len(data) == 0
		case <-tick.C:
			now = true
		}
		for ; int64(len(buf)) >= size; seg.No++ {
			if err := r.sink.Whole(ctx, seg, buf[:size]); err != nil {
				return err
			}
			buf, stored = append(buf[:0], buf[size:]...), 0
			if err := r.confirm(seg.End(size)); err != nil {
				return err
			}
		}
		if !now {
			continue
		}
		if err := live(); err != nil {
			return err
		}
	}
}
