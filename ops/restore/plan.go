package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Input is what a plan is made from.
type Input struct {
	Heads    []backup.Head // of one cluster, the oldest first
	Archived *backup.Archived
	Facts    FactsFunc
	Target   Target
	Backup   string // ID of the one to use; empty: the best
	// Doubts are what speaks against a backup, by ID: it is used only where no other reaches the target.
	Doubts map[string]string
}

// Plan is what a restore will do.
type Plan struct {
	Backup   backup.Head      `json:"backup"`
	Target   string           `json:"target"`
	Timeline backup.Timeline  `json:"timeline"` // that recovery follows
	First    string           `json:"first_segment"`
	Last     string           `json:"last_segment"`
	Segments []backup.Segment `json:"-"`
	WALBytes int64            `json:"wal_bytes"` // in the repository
	// Reaches is the last transaction that will be there; nil where nothing committed since the backup.
	Reaches *Point `json:"reaches,omitempty"`
	// Newest is the last transaction in the archive: what lies between is lost.
	Newest *Point `json:"newest,omitempty"`
	// Doubts are what is to be known about the choice: why a newer backup is passed over, or what speaks against this one.
	Doubts []string `json:"doubts,omitempty"`
	// Live is the server that is to be replaced, as it was while this was planned; nil where none was asked.
	Live *Live `json:"live,omitempty"`

	stop       backup.LSN // where the target stops the recovery; the end of the archive where it doesn't
	archivedTo backup.LSN // the end of the archive; 0 where it is within a segment
}

// Point is a transaction's end in the log.
type Point struct {
	LSN  backup.LSN `json:"lsn"`
	Time time.Time  `json:"time"`
	XID  uint32     `json:"xid"`
}

// Make works out how to reach the target, or fails with an UnreachableError. It reads the archive, and changes nothing.
func Make(ctx context.Context, in Input) (*Plan, error) {
	chains, own, err := in.chains()
	if err != nil {
		return nil, err
	}
	in.preferSound(chains)
	var failure *UnreachableError
	for _, c := range chains {
		stop, err := in.reach(ctx, c)
		if err == nil {
			return in.finish(ctx, c, own, stop)
		}
		var u *UnreachableError
		if !errors.As(err, &u) {
			return nil, err
		}
		// Tell of the newest backup that could have been used, or of the hole that the target may be in.
		if failure == nil || failure.early || u.gap && !failure.gap {
			failure = u
		}
	}
	return nil, failure
}

// preferSound moves the chains behind all others whose backups are in doubt.
func (in Input) preferSound(chains []*chain) {
	slices.SortStableFunc(chains, func(a, b *chain) int {
		return cmp.Compare(min(len(in.Doubts[a.head.ID]), 1), min(len(in.Doubts[b.head.ID]), 1))
	})
}

// doubts says what is to be known about the choice of a backup.
func (in Input) doubts(chosen backup.Head) []string {
	var out []string
	if why := in.Doubts[chosen.ID]; why != "" {
		out = append(out, why)
	}
	for _, h := range in.Heads {
		if why := in.Doubts[h.ID]; why != "" && in.Backup == "" && h.Stopped.After(chosen.Stopped) {
			out = append(out, why+": the one before it is used")
		}
	}
	return out
}

// chains are those of the backups that lie on the way to the target's timeline, the newest first.
func (in Input) chains() ([]*chain, backup.Timeline, error) {
	if len(in.Heads) == 0 {
		return nil, 0, &UnreachableError{Target: in.Target, Reason: "there is no backup"}
	}
	own := in.Target.Timeline
	if own == 0 {
		own = in.Archived.Newest()
		for _, h := range in.Heads {
			own = max(own, h.Timeline)
		}
	}
	history, err := in.Archived.History(own)
	if err != nil {
		return nil, 0, &UnreachableError{Target: in.Target, Reason: err.Error()}
	}
	r := route{own: own, history: history, size: in.Heads[0].SegmentSize}
	var chains []*chain
	for i := len(in.Heads) - 1; i >= 0; i-- {
		h := in.Heads[i]
		if (in.Backup == "" || h.ID == in.Backup) && r.history.Has(own, h.Timeline, h.StopLSN) {
			chains = append(chains, newChain(h, r, in.Archived, in.Facts))
		}
	}
	if len(chains) == 0 {
		reason := fmt.Sprintf("no backup lies on the way to timeline %d", own)
		if in.Backup != "" {
			reason = fmt.Sprintf("there is no backup %s on the way to timeline %d", in.Backup, own)
		}
		return nil, 0, &UnreachableError{Target: in.Target, Reason: reason}
	}
	return chains, own, nil
}

// reach returns the LSN at which recovery from the chain's backup stops for the target.
func (in Input) reach(ctx context.Context, c *chain) (backup.LSN, error) {
	if !c.whole() {
		return 0, in.unreachable(ctx, c, fmt.Sprintf("backup %s needs WAL up to %s", c.head.ID, c.head.StopLSN))
	}
	switch in.Target.Kind {
	case Latest:
		if c.missing != nil {
			return 0, in.unreachable(ctx, c, "later WAL is there")
		}
		return c.end(), nil
	case Immediate:
		return c.head.StopLSN, nil
	case AtLSN:
		return in.reachLSN(ctx, c)
	case AtTime:
		return in.reachTime(ctx, c)
	case AtXID:
		return in.reachMark(ctx, c, func(m backup.Mark) bool { return isEnd(m) && m.XID == in.Target.XID })
	case AtName:
		return in.reachMark(ctx, c, func(m backup.Mark) bool {
			return m.Kind == backup.MarkRestorePoint && m.Name == in.Target.Name
		})
	}
	return 0, fmt.Errorf("unknown kind of target %d", in.Target.Kind)
}

func (in Input) reachLSN(ctx context.Context, c *chain) (backup.LSN, error) {
	if in.Target.LSN < c.head.StopLSN {
		return 0, in.tooEarly(c)
	}
	for i := c.index(in.Target.LSN); i >= 0 && i < len(c.segments); i++ {
		f, err := c.at(ctx, i)
		if err != nil {
			return 0, err
		}
		if f.Last >= in.Target.LSN {
			return in.Target.LSN, nil
		}
	}
	return 0, in.unreachable(ctx, c, fmt.Sprintf("the archived log ends before it, at %s", c.end()))
}

// reachTime finds the first transaction that ended after the time: that is where recovery stops.
func (in Input) reachTime(ctx context.Context, c *chain) (backup.LSN, error) {
	if in.Target.Time.Before(c.head.Stopped) {
		return 0, in.tooEarly(c)
	}
	after := func(m backup.Mark) bool {
		return isEnd(m) && (m.Time.After(in.Target.Time) || in.Target.Exclusive && m.Time.Equal(in.Target.Time))
	}
	// Transactions end nearly in the order of their times: search by halves, then look a segment further back.
	var failed error
	i := sort.Search(len(c.segments), func(i int) bool {
		m, err := c.find(ctx, i, isEnd)
		if err != nil {
			failed = err
		}
		return m == nil || after(*m)
	})
	if failed != nil {
		return 0, failed
	}
	m, err := c.find(ctx, i-2, after)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return 0, in.unreachable(ctx, c, "no archived transaction is later, so that recovery could not tell when to stop")
	}
	return m.LSN, nil
}

func (in Input) reachMark(ctx context.Context, c *chain, want func(backup.Mark) bool) (backup.LSN, error) {
	m, err := c.find(ctx, 0, want)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return 0, in.unreachable(ctx, c, fmt.Sprintf("it is not in the log from backup %s to %s", c.head.ID, c.end()))
	}
	return m.LSN, nil
}

func (in Input) tooEarly(c *chain) error {
	return &UnreachableError{
		Target: in.Target, Reason: "no backup is as old as that", early: true,
		Nearest: fmt.Sprintf("the end of backup %s, %s (--backup %s --immediate)", c.head.ID, c.head.Stopped.Format(time.RFC3339), c.head.ID),
	}
}

// unreachable names the missing segment, where one is, and the last transaction before it.
func (in Input) unreachable(ctx context.Context, c *chain, reason string) error {
	u := &UnreachableError{Target: in.Target, Reason: reason}
	if c.missing != nil {
		u.gap = true
		u.Reason += ", but WAL segment " + c.missing.Name(c.head.SegmentSize) + " is missing (covetctl backup gaps)"
	}
	if !c.whole() {
		return u
	}
	m, err := c.findLast(ctx, c.end(), isCommit)
	if err != nil {
		return errors.Join(u, err)
	}
	if m == nil || m.LSN < c.head.StopLSN {
		u.Nearest = fmt.Sprintf("the end of backup %s, %s (--backup %s --immediate)", c.head.ID, c.head.Stopped.Format(time.RFC3339), c.head.ID)
		return u
	}
	u.Nearest = fmt.Sprintf("transaction %d, committed %s (--target-xid %d)", m.XID, m.Time.Format("2006-01-02 15:04:05.999999Z07:00"), m.XID)
	return u
}

// finish fills in what the plan says of the way to the stop.
func (in Input) finish(ctx context.Context, c *chain, own backup.Timeline, stop backup.LSN) (*Plan, error) {
	p := &Plan{Backup: c.head, Target: in.Target.String(), Timeline: own, stop: stop, Doubts: in.doubts(c.head)}
	if a, ok := in.Archived.Find(c.segments[len(c.segments)-1]); ok && !a.Live {
		p.archivedTo = c.end()
	}
	last := min(c.index(stop), len(c.segments)-1)
	p.Segments = c.segments[:last+1]
	p.First, p.Last = c.segments[0].Name(c.head.SegmentSize), c.segments[last].Name(c.head.SegmentSize)
	for _, s := range p.Segments {
		if a, ok := in.Archived.Find(s); ok {
			p.WALBytes += a.Size
		}
	}
	below := stop
	if !in.Target.Exclusive && (in.Target.Kind == AtXID || in.Target.Kind == AtLSN) {
		below++
	}
	var err error
	if p.Reaches, err = point(c.findLast(ctx, below, isCommit)); err != nil {
		return nil, err
	}
	p.Newest, err = point(c.findLast(ctx, c.end(), isCommit))
	return p, err
}

func point(m *backup.Mark, err error) (*Point, error) {
	if m == nil || err != nil {
		return nil, err
	}
	return &Point{m.LSN, m.Time, m.XID}, nil
}

// End is the LSN up to which the log will be replayed, as far as can be known: where the target stops it; otherwise the last
// transaction, where that is in the last segment, the rest of which is empty as a rule.
func (p *Plan) End() backup.LSN {
	last := p.Segments[len(p.Segments)-1]
	end := last.End(p.Backup.SegmentSize)
	switch {
	case p.stop < end:
		return p.stop
	case p.Reaches != nil && p.Reaches.LSN >= last.Start(p.Backup.SegmentSize):
		return p.Reaches.LSN
	}
	return end
}
