package restore

import (
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Live is what the server that is to be replaced says of itself.
type Live struct {
	LSN     backup.LSN `json:"lsn"`
	Clock   time.Time  `json:"clock,omitzero"`    // its own, as the times of its transactions are
	NextXID uint64     `json:"next_xid"`          // all that wrote have a lower one
	Quiet   bool       `json:"quiet"`             // no transaction that wrote is under way
	Problem string     `json:"problem,omitempty"` // why nothing else is known
}

// Loss is the time between the last transaction that will be there and the last one that there is: the newest in the archive,
// or the live server's, of which nobody knows better than that it committed by now.
func (p *Plan) Loss() time.Duration {
	from, to := p.Backup.Stopped, p.Backup.Stopped
	if p.Reaches != nil {
		from = p.Reaches.Time
	}
	if p.Newest != nil {
		to = p.Newest.Time
	}
	if p.liveIsAhead() {
		to = p.Live.Clock
	}
	return max(to.Sub(from), 0)
}

// liveIsAhead says whether the live server may have committed something that the archive hasn't got.
func (p *Plan) liveIsAhead() bool {
	l := p.Live
	if l == nil || l.Problem != "" {
		return false
	}
	if l.LSN <= p.archivedTo {
		return false
	}
	return p.Newest == nil || !l.Quiet || uint32(l.NextXID) != p.Newest.XID+1
}

// LossBasis says against what the loss is counted.
func (p *Plan) LossBasis() string {
	switch l := p.Live; {
	case l == nil:
		return "against the newest transaction in the archive"
	case l.Problem != "":
		return "against the newest transaction in the archive: the server does not say what it has: " + l.Problem
	case p.liveIsAhead():
		return "against the server as it is now, at most: it has written what is not in the archive yet"
	}
	return "against the server as it is now: all that it has committed is in the archive"
}
