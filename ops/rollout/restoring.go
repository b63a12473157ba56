package rollout

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// RestoreNoted is the kind of the events that tell how a restore of the service's database gets on; their data is a Restoring.
const RestoreNoted journal.Kind = "restore.noted"

// Restoring is a restore of the service's database as its worker last told it. It is in the journal so that it outlives the
// machine that it runs on, and is found by whoever goes on with it.
type Restoring struct {
	ID     string          `json:"id"`
	Place  string          `json:"place"` // the data directory
	Host   string          `json:"host"`
	Target string          `json:"target"`
	State  RestoreState    `json:"state"`
	Step   string          `json:"step,omitempty"` // the one under way, in words
	Says   string          `json:"says,omitempty"` // why it stands still, or what came of it
	Record json.RawMessage `json:"record,omitempty"`
	By     string          `json:"by,omitempty"`
	Began  time.Time       `json:"began,omitzero"`
	At     time.Time       `json:"at,omitzero"` // of this note
}

// RestoreState is where a restore stands.
type RestoreState string

// The states.
const (
	RestoreRuns    RestoreState = "running"
	RestoreStands  RestoreState = "stopped" // it failed, and can go on
	RestoreDone    RestoreState = "done"
	RestoreDropped RestoreState = "given up"
)

// Over says whether nobody goes on with it.
func (r Restoring) Over() bool { return r.State == RestoreDone || r.State == RestoreDropped }

// foldRestore keeps the restores that aren't over, each as it was noted last. A note without a record is for the audit log: it is
// of a restore that nobody could go on with.
func foldRestore(s State, e journal.Event) (State, error) {
	var r Restoring
	if err := e.Decode(&r); err != nil {
		return s, err
	}
	r.ID, r.By, r.At, r.Began = e.Subject, e.By, e.At, e.At
	kept := make([]Restoring, 0, len(s.Restores)+1)
	for _, old := range s.Restores {
		if old.ID == r.ID {
			r.Began, r.By = old.Began, old.By
			continue
		}
		kept = append(kept, old)
	}
	if !r.Over() && len(r.Record) > 0 {
		kept = append(kept, r)
	}
	s.Restores = slices.Clip(kept)
	return s, nil
}
