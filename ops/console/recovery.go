package console

import (
	"context"
	"time"

	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
)

// RecoveryView is what a console can see of backups and restores. It is answered where the console runs, from the repository
// itself if need be: it is there when the service is not.
type RecoveryView interface {
	// Posture is how recoverable the database is just now.
	Posture(ctx context.Context) (recovery.Posture, error)
	// Newest is the record of the newest restore that was begun from here; nil: there is none.
	Newest() (*restore.Operation, error)
}

// RecoveryDesk has restores and the jobs of recovery done. What it begins is done by processes of their own, which a console's
// end does not reach.
type RecoveryDesk interface {
	// PlanRestore says what a restore would do, and changes nothing.
	PlanRestore(ctx context.Context, in RestoreRequest) (Plan, error)
	// Restore begins one, if the plan would still be the one that was confirmed.
	Restore(ctx context.Context, in RestoreRequest) (*restore.Operation, error)
	// Resume goes on with one that stands still; Abandon closes its record instead.
	Resume(ctx context.Context, id string, abandon bool) (*restore.Operation, error)
	// RunJob begins one of the jobs of recovery now, and says what was begun.
	RunJob(ctx context.Context, kind recovery.Kind) (string, error)
}

// Recovery is all of it.
type Recovery interface {
	RecoveryView
	RecoveryDesk
}

// RestoreRequest asks to bring the database back to a point, in place, with the service stopped meanwhile.
type RestoreRequest struct {
	Target  restore.Target
	Dir     string // the data directory; empty: that of the server that is named
	Release string // that is to serve afterwards; empty: the one that serves now
	// AcceptLoss is how much may be lost at the most; 0: nothing.
	AcceptLoss time.Duration
	Reason     string
	PlanHash   string // do it only if the plan would still be this one
}
