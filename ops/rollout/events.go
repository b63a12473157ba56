package rollout

import (
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// The kinds of events that State is folded from.
const (
	ReleaseAdded       journal.Kind = "release.added"       // Release
	ReleaseRemoved     journal.Kind = "release.removed"     // -
	ReleaseQuarantined journal.Kind = "release.quarantined" // Note
	ServiceAdopted     journal.Kind = "service.adopted"     // Adoption: a release serves without a rollout
	ServiceStopped     journal.Kind = "service.stopped"     // Stop
	ServiceStarted     journal.Kind = "service.started"     // Note
	WarmRetired        journal.Kind = "warm.retired"        // -

	RolloutStarted   journal.Kind = "rollout.started"   // Rollout
	RolloutStep      journal.Kind = "rollout.step"      // StepData: a step was entered
	RolloutReady     journal.Kind = "rollout.ready"     // StepData: its instances are ready, traffic may move
	RolloutShifted   journal.Kind = "rollout.shifted"   // StepData: the router confirmed the weight
	RolloutWaiting   journal.Kind = "rollout.waiting"   // Note: a person must decide
	RolloutPromoted  journal.Kind = "rollout.promoted"  // Note: a person decided to go on
	RolloutPaused    journal.Kind = "rollout.paused"    // Note
	RolloutResumed   journal.Kind = "rollout.resumed"   // -
	RolloutContained journal.Kind = "rollout.contained" // Note: traffic was taken from the candidate
	RolloutAborting  journal.Kind = "rollout.aborting"  // AbortData
	RolloutReturned  journal.Kind = "rollout.returned"  // -: while aborting, the stable release can take the traffic
	RolloutEnded     journal.Kind = "rollout.ended"     // EndData
)

// Note is the data of events that carry only words.
type Note struct {
	Message string `json:"message,omitempty"`
}

// StepData names a step and the candidate's weight in it.
type StepData struct {
	Step   int `json:"step"`
	Weight int `json:"weight"`
}

// AbortData says why a rollout is undone.
type AbortData struct {
	Message   string   `json:"message"`
	Automatic bool     `json:"automatic,omitempty"` // the engine's own decision
	Contain   bool     `json:"contain,omitempty"`   // take the traffic from the candidate at once, before anything else
	Then      *Rollout `json:"then,omitempty"`      // what starts once it is undone
}

// EndData says how a rollout ended.
type EndData struct {
	Phase   Phase  `json:"phase"`
	Message string `json:"message,omitempty"`

	// KeepCandidate leaves the candidate running although it is not to serve: nothing else does.
	KeepCandidate bool `json:"keep_candidate,omitempty"`
}

// Adoption says which release serves without a rollout having brought it there.
type Adoption struct {
	Instances int    `json:"instances"`
	Previous  string `json:"previous,omitempty"` // what a rollback goes to; empty leaves it as it is
}

func event(now time.Time, by string, kind journal.Kind, subject string, data any) journal.Event {
	return journal.New(now, by, kind, subject, data)
}

// ByCovetd is the author of the events that nobody asked for in person.
const ByCovetd = "covetd"
