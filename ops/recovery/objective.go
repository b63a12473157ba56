package recovery

import (
	"fmt"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/restore"
)

// Objectives are what is promised of a database.
type Objectives struct {
	RPO time.Duration // at most so much may be lost
	RTO time.Duration // at most so long may getting it back take
}

// DefaultObjectives are those of the guide.
func DefaultObjectives() Objectives { return Objectives{RPO: time.Hour, RTO: 4 * time.Hour} }

// Measure is one objective as it stands.
type Measure struct {
	Known bool             `json:"known"`
	Now   journal.Duration `json:"now"`
	Limit journal.Duration `json:"limit"`
	Over  bool             `json:"over"`
	Basis string           `json:"basis"` // what the number is from
}

func measured(now, limit time.Duration, basis string) Measure {
	now = max(now, 0)
	return Measure{Known: true, Now: journal.Duration(now), Limit: journal.Duration(limit), Over: now > limit, Basis: basis}
}

// forgotten is a measure that nobody could take again since a moment: what was so then is no answer to what is so now.
func (m Measure) forgotten(since time.Time, limit time.Duration) Measure {
	out := Measure{Limit: journal.Duration(limit), Basis: "the repository does not answer, and was never read"}
	if !since.IsZero() {
		out.Basis = "the repository does not answer since " + since.UTC().Format("2006-01-02 15:04:05Z")
	}
	if m.Known {
		out.Basis += fmt.Sprintf("; it was %s then", round(m.Now))
	}
	return out
}

// Ratio is how much of the limit is used: 1 is all of it.
func (m Measure) Ratio() float64 {
	if m.Limit <= 0 {
		return 0
	}
	return float64(m.Now) / float64(m.Limit)
}

// Position is what a server said of its log at one moment.
type Position struct {
	At    time.Time  `json:"at"` // by this machine's clock
	LSN   backup.LSN `json:"lsn"`
	Clock time.Time  `json:"clock,omitzero"` // by the server's clock, at the same moment
	// NextXID is the next transaction's number: all that wrote have a lower one.
	NextXID uint64 `json:"next_xid"`
	Quiet   bool   `json:"quiet"` // no transaction that wrote is under way
	// System is the database cluster that the server is of.
	System backup.SystemID `json:"-"`
}

// exposure is how much would be lost were the server gone now. seen are its positions over time, the oldest first; the
// newest is of now. lost is the error where it didn't answer.
func exposure(d *restore.Durable, seen []Position, lost error, now time.Time, limit time.Duration) Measure {
	if d == nil {
		return Measure{Limit: journal.Duration(limit), Over: true, Basis: "there is no backup from which anything could be restored"}
	}
	since := d.Backup.Stopped
	if d.Last != nil {
		since = d.Last.Time
	}
	since = since.Add(-skew(seen)) // the log has the server's times
	if len(seen) == 0 || lost != nil {
		if ahead := since.Sub(now); ahead > clockTolerance {
			return Measure{Limit: journal.Duration(limit), Basis: fmt.Sprintf("the server was not asked, and its clock is %s ahead of this machine's", round(journal.Duration(ahead)))}
		}
		basis := "since the last archived transaction, at most"
		if lost != nil {
			basis = "the server does not answer: " + basis
		}
		return measured(now.Sub(since), limit, basis)
	}
	last := seen[len(seen)-1]
	if d.Last != nil && last.Quiet && uint32(last.NextXID) == d.Last.XID+1 {
		return measured(0, limit, "every transaction is in the archive")
	}
	basis := "since the last archived transaction, at most"
	for _, p := range seen {
		if p.LSN > d.LSN {
			break
		}
		if p.LSN == last.LSN || p.Quiet && p.NextXID == last.NextXID {
			return measured(0, limit, "nothing was written that is not in the archive")
		}
		if p.At.After(since) {
			since, basis = p.At, "since the archive was last up to date"
		}
	}
	return measured(now.Sub(since), limit, basis)
}

// clockTolerance is how far two clocks may be apart and still be taken for the same.
const clockTolerance = 2 * time.Second

// skew is how far the server's clock is ahead of this machine's, as it was last seen.
func skew(seen []Position) time.Duration {
	for _, p := range slices.Backward(seen) {
		if p.Clock.IsZero() {
			continue
		}
		if d := p.Clock.Sub(p.At); d.Abs() > clockTolerance {
			return d
		}
		return 0
	}
	return 0
}

// Rates of restoring, for where nothing was measured yet: modest disks and networks.
const (
	guessedCopy   = 80e6 // bytes a second
	guessedReplay = 4.0  // segments of 16 MiB a second
	startTime     = 10 * time.Second
)

// speed is how fast something was restored.
type speed struct {
	copy, replay float64 // bytes a second; segments a second
	basis        string
}

// recoveryTime is how long getting the newest point back takes: as the last drill measured it, grown with what the
// database has grown since, or as it is worked out from what was measured.
func recoveryTime(d *restore.Durable, drills []backup.DrillResult, sizes map[string]int64, s speed, limit time.Duration) Measure {
	if d == nil {
		return Measure{Limit: journal.Duration(limit), Over: true, Basis: "there is no backup from which anything could be restored"}
	}
	for i := len(drills) - 1; i >= 0; i-- {
		if drill := drills[i]; drill.Passed() {
			took := drill.Recovery.Std()
			if size := sizes[drill.Backup]; size > 0 && d.Backup.Bytes > size {
				took += time.Duration(float64(drill.Copied) * (float64(d.Backup.Bytes)/float64(size) - 1))
			}
			return measured(took, limit, "measured by the drill of "+drill.Began.UTC().Format("2006-01-02 15:04Z"))
		}
	}
	return measured(s.time(d.Backup.Bytes, d.Segments), limit, "estimated "+s.basis)
}

// time is how long a restore of so many bytes and WAL segments takes.
func (s speed) time(size int64, segments int) time.Duration {
	return startTime + time.Duration((float64(size)/s.copy+float64(segments)/s.replay)*float64(time.Second))
}

// speedOf takes the rates from what was measured last: a drill, even one whose checks failed, or else a verification.
func speedOf(drills []backup.DrillResult, sizes map[string]int64, verified map[string]backup.Verified) speed {
	s := speed{copy: guessedCopy, replay: guessedReplay}
	s.basis = fmt.Sprintf("at an assumed %d MB/s: no drill has measured it yet", int(guessedCopy/1e6))
	for i := len(drills) - 1; i >= 0; i-- {
		if size := sizes[drills[i].Backup]; size > 0 && drills[i].Copied > 0 {
			s.copy = float64(size) / drills[i].Copied.Std().Seconds()
			s.basis = fmt.Sprintf("at the %.0f MB/s of the drill of %s", s.copy/1e6, drills[i].Began.UTC().Format("2006-01-02"))
			return s
		}
	}
	var newest time.Time
	for _, v := range verified {
		if v.Bytes > 1e6 && v.Took > 0 && v.At.After(newest) {
			newest = v.At
			s.copy = float64(v.Bytes) / v.Took.Std().Seconds()
			s.basis = fmt.Sprintf("at the %.0f MB/s of the verification of %s", s.copy/1e6, v.At.UTC().Format("2006-01-02"))
		}
	}
	return s
}

// Estimate is how long a restore of so many bytes and WAL segments takes, by what was measured, and what that was.
func (f Facts) Estimate(size int64, segments int) (time.Duration, string) {
	s := speedOf(f.Drills, f.sizes(), f.Verified)
	return s.time(size, segments), s.basis
}
