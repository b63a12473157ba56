// Package rollout moves a service from one release to another: the records, the pure state machine over them, and the
// engine that drives it. State is always the journal and an observation, never memory, so the engine can stop at any
// instruction and another process can take over.
package rollout

import (
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
)

// Phase is where a rollout stands within its step, or how it ended.
type Phase string

// The phases. Scaling to Waiting repeat with each step.
const (
	Settling   Phase = "settling"    // what the rollout before has left is put in order; nothing of this one has begun
	Scaling    Phase = "scaling"     // instances are being started; traffic has not moved for this step
	Shifting   Phase = "shifting"    // enough are ready; the router is being told
	Baking     Phase = "baking"      // traffic moved; the step is watched
	Waiting    Phase = "waiting"     // a person must decide
	Aborting   Phase = "aborting"    // going back to the stable release
	Succeeded  Phase = "succeeded"   // the candidate is the stable release now
	RolledBack Phase = "rolled_back" // the stable release serves as before
	Failed     Phase = "failed"      // neither could be reached: people must act
)

// Ended reports whether the phase is final.
func (p Phase) Ended() bool { return p == Succeeded || p == RolledBack || p == Failed }

// Purpose is why a rollout is made.
type Purpose string

// The purposes.
const (
	Deploy   Purpose = "deploy"
	Rollback Purpose = "rollback"
)

// Rollout is one move from a stable release to a candidate.
type Rollout struct {
	ID        string           `json:"id"`
	Purpose   Purpose          `json:"purpose"`
	Strategy  Strategy         `json:"strategy"`
	From      string           `json:"from,omitempty"` // version; empty when nothing was stable
	To        string           `json:"to"`             // version
	Tuning    Tuning           `json:"tuning"`
	Steps     []Step           `json:"steps"`
	Reason    string           `json:"reason,omitempty"`
	By        string           `json:"by"`
	PlanHash  string           `json:"plan_hash,omitempty"`
	StartedAt time.Time        `json:"started_at"`
	Keep      journal.Duration `json:"keep,omitempty"`

	Step      int       `json:"step"` // index into Steps
	Phase     Phase     `json:"phase"`
	PhaseAt   time.Time `json:"phase_at"` // when the phase began
	Weight    int       `json:"weight"`   // the candidate's share as journalled
	Paused    bool      `json:"paused,omitempty"`
	PausedBy  string    `json:"paused_by,omitempty"`
	PausedAt  time.Time `json:"paused_at,omitzero"`
	Approved  bool      `json:"approved,omitempty"`  // a person decided to go on from where it stands
	Contained bool      `json:"contained,omitempty"` // traffic was taken from the candidate until a person decides
	JudgedAt  time.Time `json:"judged_at"`           // the candidate is judged by what it did since then
	Automatic bool      `json:"automatic,omitempty"` // the abort was the engine's own decision
	Message   string    `json:"message,omitempty"`   // why it stands or ended as it does
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Then      *Rollout  `json:"then,omitempty"` // starts once this one has been undone (a rollback to a third release)

	// InPlace says that the platform itself replaces the one release's instances by the other's, gradually, where they are.
	InPlace bool `json:"in_place,omitempty"`
	Resumes int  `json:"resumes,omitempty"` // how often a person said to go on after a pause

	// Settle says that the platform puts in order what the rollout before has left before the first step: a release that is
	// kept warm is let go. It is true until that is done.
	Settle bool `json:"settle,omitempty"`
}

// Current is the step the rollout is in.
func (r *Rollout) Current() Step {
	if r.Step < 0 || r.Step >= len(r.Steps) {
		return Step{}
	}
	return r.Steps[r.Step]
}

// Last reports whether the current step is the last.
func (r *Rollout) Last() bool { return r.Step >= len(r.Steps)-1 }

// Warm is a release kept running without traffic, so that going back to it takes no time.
type Warm struct {
	Version   string    `json:"version"`
	Instances int       `json:"instances"`
	Until     time.Time `json:"until"`
}

// State is what a service's journal says, folded.
type State struct {
	Seq         journal.Seq        `json:"seq"`
	Releases    map[string]Release `json:"releases"` // by version
	Stable      string             `json:"stable"`   // version; empty before the first release serves
	Previous    string             `json:"previous"` // the version that was stable before, where rollback goes by default
	Instances   int                `json:"instances"`
	Warm        *Warm              `json:"warm,omitempty"`
	Active      *Rollout           `json:"active,omitempty"`
	History     []Rollout          `json:"history"`               // ended ones, oldest first
	Quarantined map[string]string  `json:"quarantined,omitempty"` // digest → why it must not be started without force
	Count       int                `json:"count"`                 // rollouts ever started: the next one's number
	Outcomes    map[Phase]int      `json:"outcomes,omitempty"`    // how many rollouts ended how, ever
	Incidents   health.Incidents   `json:"incidents,omitempty"`
	Stopped     *Stop              `json:"stopped,omitempty"`     // nothing is to run
	ServesSince time.Time          `json:"serves_since,omitzero"` // when it was last started again
	Restores    []Restoring        `json:"restores,omitempty"`    // of the service's database, that aren't over
}

// Find returns the rollout with the id, active or ended. An empty id means the active one, or else the newest.
func (s State) Find(id string) (Rollout, bool) {
	if s.Active != nil && (id == "" || id == s.Active.ID) {
		return *s.Active, true
	}
	for i := len(s.History) - 1; i >= 0; i-- {
		if id == "" || s.History[i].ID == id {
			return s.History[i], true
		}
	}
	return Rollout{}, false
}
