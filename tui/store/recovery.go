package store

import (
	"context"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/restore"
)

// Times of looking at recovery. A repository far away is asked less often than a record at hand.
const (
	postureEvery = 10 * time.Second
	recordEvery  = 500 * time.Millisecond
	postureLimit = 60 * time.Second
)

// WithRecovery names who is asked about the database's backups; nil: nobody.
func (f *Feed) WithRecovery(r console.RecoveryView) *Feed {
	f.recovery = r
	return f
}

// lookAtRecovery begins to keep how recoverable the database is, and how a restore goes.
func (f *Feed) lookAtRecovery(ctx context.Context) {
	if f.recovery != nil {
		go f.watchPosture(ctx, f.recovery)
		go f.watchRecord(ctx, f.recovery)
	}
}

// watchPosture asks again and again; a person who tries to connect again has it asked at once.
func (f *Feed) watchPosture(ctx context.Context, r console.RecoveryView) {
	for ctx.Err() == nil {
		began := time.Now()
		asking, cancel := context.WithTimeout(ctx, postureLimit)
		p, err := r.Posture(asking)
		cancel()
		f.change(func(s *state) {
			s.snap.Version++
			s.snap.RecoveryVersion++
			s.snap.RecoveryProblem = ""
			if err != nil {
				s.snap.RecoveryProblem, _ = words(err)
				return
			}
			s.snap.Recovery = &p
		})
		select {
		case <-ctx.Done():
		case <-f.again:
		case <-time.After(max(postureEvery, 10*time.Since(began))):
		}
	}
}

// watchRecord reads the newest restore's record, and tells when it says something else.
func (f *Feed) watchRecord(ctx context.Context, r console.RecoveryView) {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	var last restore.Operation
	running := false
	for {
		if o, err := r.Newest(); err == nil && o != nil && (!same(last, *o) || running != o.Running()) {
			last, running = *o, o.Running()
			f.change(func(s *state) {
				s.snap.Version++
				s.snap.Restore, s.snap.Restoring = o, running
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// same says whether two readings of a record tell the same.
func same(a, b restore.Operation) bool {
	if a.ID != b.ID || a.PID != b.PID || a.Error != b.Error || !a.Ended.Equal(b.Ended) || len(a.Steps) != len(b.Steps) {
		return false
	}
	for i := range a.Steps {
		if a.Steps[i] != b.Steps[i] {
			return false
		}
	}
	return (a.Progress == nil) == (b.Progress == nil) && (a.Progress == nil || *a.Progress == *b.Progress)
}
