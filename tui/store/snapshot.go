// Package store keeps what the console shows: a fold over the live stream into immutable, versioned snapshots. The
// stream is read by goroutines of its own, so that the screen never waits for the network.
package store

import (
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
)

// LinkState is how the connection to the service stands.
type LinkState int

// The states of the connection.
const (
	Connecting LinkState = iota // nothing has been heard yet
	Live                        // updates arrive
	Lost                        // it was live, and is not any more; the last values are kept
)

// Link is the connection to the service.
type Link struct {
	State   LinkState
	HeardAt time.Time // when something last arrived
	Message string    // why there is no connection
	Hint    string    // what to do about it
	Attempt int       // tries since it was last live
	NextAt  time.Time // of the next try
}

// Snapshot is everything known at one moment. It never changes: the next one is another.
type Snapshot struct {
	Version   uint64 // grows with every change of anything
	Link      Link
	Status    *console.Status // nil until the first one came
	Instances []*rollout.Instance
	Rollouts  []rollout.Rollout // newest first, the active one included
	Releases  []rollout.Release // newest first
	Incidents []health.Incident // newest first
	Audit     []console.AuditEntry
	AuditAll  bool // Audit reaches back to the first event
	Timeline  console.Timeline
	Series    Series

	Cluster        *console.ClusterView // nil until somebody has looked, and where there is no cluster
	ClusterVersion uint64               // grows when Cluster changed
	ClusterProblem string               // why Cluster is not the newest

	Recovery        *recovery.Posture  // nil until somebody has looked
	RecoveryVersion uint64             // grows when Recovery was asked for again
	RecoveryProblem string             // why Recovery is not the newest
	Restore         *restore.Operation // the newest restore begun from here, nil: none
	Restoring       bool               // a process is at work on it

	InstancesVersion uint64 // grows when Instances changed
	SeriesVersion    uint64 // grows when Series changed
}

// Series is the recent past, oldest first.
type Series struct {
	Step     time.Duration
	Total    []console.Point
	Releases map[string][]console.Point
}

// Active is the rollout under way, or nil.
func (s *Snapshot) Active() *rollout.Rollout {
	if s.Status == nil {
		return nil
	}
	return s.Status.Rollout
}

// Rollout finds a rollout by its id, the active one as the status has it.
func (s *Snapshot) Rollout(id string) *rollout.Rollout {
	if a := s.Active(); a != nil && a.ID == id {
		return a
	}
	for i := range s.Rollouts {
		if s.Rollouts[i].ID == id {
			return &s.Rollouts[i]
		}
	}
	return nil
}

// Seq is the newest event the snapshot knows of.
func (s *Snapshot) Seq() journal.Seq {
	if len(s.Audit) == 0 {
		return 0
	}
	return s.Audit[0].Seq
}
