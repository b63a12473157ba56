// Package restore brings a database cluster back from a backup repository, as it was at a chosen point in time. It
// decides what is needed, and whether that is there, before it touches anything.
package restore

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Kind says how a Target is given.
type Kind int

// The kinds of targets.
const (
	Latest    Kind = iota // everything that is archived
	Immediate             // as soon as the backup is consistent
	AtTime
	AtLSN
	AtXID
	AtName
)

// Target is the point at which recovery stops.
type Target struct {
	Kind Kind
	Time time.Time
	LSN  backup.LSN
	XID  uint32
	Name string // of a restore point
	// Exclusive leaves out what happened exactly at the target: the transaction with the XID, those that committed in
	// the very microsecond, the record at the LSN. PostgreSQL's default, and ours, is to include it.
	Exclusive bool
	// Timeline to follow; 0: the newest.
	Timeline backup.Timeline
}

// String is what a person calls it.
func (t Target) String() string {
	switch t.Kind {
	case Immediate:
		return "the end of the backup"
	case AtTime:
		return t.Time.UTC().Format("2006-01-02 15:04:05.999999Z07:00")
	case AtLSN:
		return "LSN " + t.LSN.String()
	case AtXID:
		return fmt.Sprintf("transaction %d", t.XID)
	case AtName:
		return fmt.Sprintf("restore point %q", t.Name)
	}
	return "the latest"
}

// UnreachableError says that a target can't be restored to, and what can.
type UnreachableError struct {
	Target  Target
	Reason  string
	Nearest string // a point that can be reached, and how to ask for it; empty where there is none

	early bool // the target lies before the backup: an older one may do
	gap   bool // the log has a hole, in which the target may be
}

func (e *UnreachableError) Error() string {
	msg := "restore to " + e.Target.String() + ": " + e.Reason
	if e.Nearest != "" {
		msg += "; the nearest reachable point is " + e.Nearest
	}
	return msg
}
