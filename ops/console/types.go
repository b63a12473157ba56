// Package console is what an operator can ask for, and what is answered: the use cases over rollouts and health. covetd
// serves them over its operations socket; covetctl uses them directly when covetd is dead.
package console

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/rollout"
)

// Op names a question or a command.
type Op string

// Questions: they change nothing. Each answers with the type named.
const (
	GetStatus    Op = "status"    // Status
	GetReleases  Op = "releases"  // []rollout.Release, newest first, secrets masked
	GetRelease   Op = "release"   // rollout.Release, secrets masked; Query.ID is the version
	GetRollouts  Op = "rollouts"  // []rollout.Rollout, newest first, the active one included
	GetRollout   Op = "rollout"   // Timeline; Query.ID, empty for the active or newest one
	GetIncidents Op = "incidents" // []health.Incident, newest first
	GetIncident  Op = "incident"  // health.Incident; Query.ID, empty for the worst open one
	GetAudit     Op = "audit"     // []AuditEntry, newest first; Query.Limit, Query.Before
	GetSeries    Op = "series"    // Series
	GetInstances Op = "instances" // []rollout.Instance
	GetRecovery  Op = "recovery"  // recovery.Posture
	GetRestores  Op = "restores"  // []rollout.Restoring, those that aren't over
)

// Commands: they change something, and are written to the audit log with who asked. Each takes and answers with the types
// named. Those that take Common answer with a Plan, doing nothing, when Common.Plan is set.
const (
	AddRelease    Op = "release.add"     // AddReleaseRequest → rollout.Release
	RemoveRelease Op = "release.remove"  // Target → Ack
	PruneReleases Op = "release.prune"   // PruneRequest → Ack or Plan
	StartRollout  Op = "rollout.start"   // StartRequest → Ack or Plan
	PauseRollout  Op = "rollout.pause"   // Target → Ack
	ResumeRollout Op = "rollout.resume"  // Target → Ack
	Promote       Op = "rollout.promote" // Target → Ack
	AbortRollout  Op = "rollout.abort"   // Target → Ack or Plan
	RetryRollout  Op = "rollout.retry"   // Target → Ack or Plan
	Rollback      Op = "rollback"        // RollbackRequest → Ack or Plan
	StopService   Op = "service.stop"    // Target → Ack or Plan; the id is that of the restore it is for, if any
	StartService  Op = "service.start"   // Target → Ack or Plan; the id is that of the restore it was stopped for
	NoteRestore   Op = "restore.note"    // rollout.Restoring → Ack: a restore of the database tells how it gets on
	NoteRemoval   Op = "backup.note"     // recovery.Removal → Ack: backups were removed from the repository
	OpenIncident  Op = "incident.open"   // IncidentRequest → health.Incident
	AckIncident   Op = "incident.ack"    // Target → health.Incident
	CloseIncident Op = "incident.close"  // Target → health.Incident
)

// Query is a question's arguments.
type Query struct {
	ID     string      `json:"id,omitempty"`
	Limit  int         `json:"limit,omitempty"`
	Before journal.Seq `json:"before,omitempty"` // audit: entries older than this one
}

// Common is what every command of weight takes.
type Common struct {
	Reason   string `json:"reason,omitempty"`
	Plan     bool   `json:"plan,omitempty"`      // say what would happen, do nothing
	PlanHash string `json:"plan_hash,omitempty"` // do it only if the plan would still be this one

	// BreakGlass does what is another role's decision. It needs a Reason.
	BreakGlass bool `json:"break_glass,omitempty"`
}

// Target names what a command is about: a rollout's id, an incident's id or a release's version. For rollouts an empty id
// means the active one.
type Target struct {
	ID string `json:"id,omitempty"`
	Common
}

// AddReleaseRequest asks to record a release.
type AddReleaseRequest struct {
	Version  string           `json:"version"`
	Manifest rollout.Manifest `json:"manifest"`

	// What follows is for a platform of containers, where the manifest is made of what runs there.
	Images   []string          `json:"images,omitempty"`   // IMAGE, or CONTAINER=IMAGE
	Env      map[string]string `json:"env,omitempty"`      // for the container the image is of
	Template json.RawMessage   `json:"template,omitempty"` // a Deployment, instead of the one that runs
	Unpinned bool              `json:"unpinned,omitempty"` // even though no digest can be found for an image
}

// StartRequest asks for a rollout to a release.
type StartRequest struct {
	To string `json:"to"`
	rollout.Tuning
	Force     bool `json:"force,omitempty"`     // even though the release is quarantined
	Supersede bool `json:"supersede,omitempty"` // undo the rollout that is under way first
	Common
}

// RollbackRequest asks to go back to a release: the one before, where To is empty.
type RollbackRequest struct {
	To    string `json:"to,omitempty"`
	Force bool   `json:"force,omitempty"`
	Common
}

// IncidentRequest declares an incident by hand.
type IncidentRequest struct {
	Severity health.Severity `json:"severity"`
	Reason   string          `json:"reason"`
}

// Ack says that a command was accepted: it is in the journal, and will be done.
type Ack struct {
	Seq     journal.Seq      `json:"seq"`
	Message string           `json:"message"`
	Rollout *rollout.Rollout `json:"rollout,omitempty"`
}

// Plan is what a command would do, worked out without doing it. Its hash covers everything that matters for what would
// happen; when any of it changes the hash does, and the plan is out of date.
type Plan struct {
	Hash     string           `json:"hash"`
	Op       Op               `json:"op"`
	Service  string           `json:"service"`
	Env      string           `json:"environment"`
	Summary  string           `json:"summary"` // one line: "canary v1.0.0 → v1.1.0 in 5 steps, about 10m"
	From     string           `json:"from,omitempty"`
	To       string           `json:"to,omitempty"`
	Rollout  *rollout.Rollout `json:"rollout,omitempty"`
	Steps    []PlanStep       `json:"steps"`
	Changes  []rollout.Change `json:"changes,omitempty"`  // what differs between the releases
	Warnings []string         `json:"warnings,omitempty"` // what is unusual, and what it may cost
	Duration journal.Duration `json:"duration"`           // expected, without waiting for approvals
	Lose     journal.Duration `json:"lose,omitempty"`     // of writes, which is confirmed by itself
	Undo     string           `json:"undo"`               // what going back costs
	At       time.Time        `json:"at"`

	shown bool // to a person: nothing is done
}

// PlanStep is one line of a plan.
type PlanStep struct {
	Do       string           `json:"do"`
	Touches  string           `json:"touches"`
	Duration journal.Duration `json:"duration,omitempty"`
}

// Timeline is a rollout with what happened to it.
type Timeline struct {
	Rollout rollout.Rollout `json:"rollout"`
	Events  []AuditEntry    `json:"events"`
}

// AuditEntry is a journal event in words.
type AuditEntry struct {
	Seq     journal.Seq  `json:"seq"`
	At      time.Time    `json:"at"`
	By      string       `json:"by"`
	Kind    journal.Kind `json:"kind"`
	Subject string       `json:"subject,omitempty"`
	Text    string       `json:"text"`
}

// Role is what a release is to the service just now.
type Role string

// The roles.
const (
	RoleStable    Role = "stable"
	RoleCandidate Role = "candidate"
	RoleWarm      Role = "warm"    // kept running without traffic
	RoleLeaving   Role = "leaving" // its last instances are draining
)

// ReleaseStatus is one running release.
type ReleaseStatus struct {
	Version  string `json:"version"`
	Role     Role   `json:"role"`
	Weight   int    `json:"weight"` // share in force, percent
	Ready    int    `json:"ready"`
	Wanted   int    `json:"wanted"`
	Restarts int    `json:"restarts"`
	Traffic  Point  `json:"traffic"`
}

// Count says how many of the instances that are wanted are ready: "3/4"; of a release that is let go, "3 left".
func (r ReleaseStatus) Count() string {
	if r.Wanted == 0 && r.Ready > 0 {
		return fmt.Sprintf("%d left", r.Ready)
	}
	return fmt.Sprintf("%d/%d", r.Ready, r.Wanted)
}

// Point is what was measured over one interval.
type Point struct {
	At          time.Time `json:"at"`
	RequestRate float64   `json:"request_rate"` // per second
	ErrorRate   float64   `json:"error_rate"`   // share of requests, 0 to 1
	P50         float64   `json:"p50_ms"`
	P95         float64   `json:"p95_ms"`
	P99         float64   `json:"p99_ms"`
	Connections int       `json:"connections"` // requests and WebSockets in flight
	CPU         float64   `json:"cpu"`         // cores, all instances together
	RSS         int64     `json:"rss"`         // bytes, all instances together
	Ready       int       `json:"ready"`
	Measured    Measured  `json:"measured,omitempty"`
}

// Measured is how much of a Point is known beside Ready. What is not known is 0, which then means nothing.
type Measured string

// What may be known.
const (
	MeasuredAll      Measured = ""         // everything
	MeasuredRequests Measured = "requests" // the rates of requests and errors alone
	MeasuredNothing  Measured = "nothing"
)

// Series is the recent past, oldest first. A missing interval is missing: At jumps.
type Series struct {
	Step     journal.Duration   `json:"step"`
	Total    []Point            `json:"total"`
	Releases map[string][]Point `json:"releases,omitempty"`
}

// Status is the service at a glance.
type Status struct {
	Service     string            `json:"service"`
	Environment string            `json:"environment"`
	Platform    string            `json:"platform"`
	Version     string            `json:"version"` // covetd's own
	PID         int               `json:"pid,omitempty"`
	StartedAt   time.Time         `json:"started_at,omitzero"`
	At          time.Time         `json:"at"`
	Seq         journal.Seq       `json:"seq"`
	Offline     bool              `json:"offline,omitempty"` // covetd is not running: read from its journal
	Stable      string            `json:"stable"`
	Previous    string            `json:"previous,omitempty"`
	Weights     rollout.Weights   `json:"weights"`
	Releases    []ReleaseStatus   `json:"releases"`
	Traffic     Point             `json:"traffic"`
	Burn        []Burn            `json:"burn"`
	Rollout     *rollout.Rollout  `json:"rollout,omitempty"` // the active one
	Last        *rollout.Rollout  `json:"last,omitempty"`    // the newest that ended
	Health      health.Assessment `json:"health"`
	Incidents   []health.Incident `json:"incidents"` // open ones, worst first
	Problems    []string          `json:"problems,omitempty"`
	Stopped     *rollout.Stop     `json:"stopped,omitempty"`  // the service is scaled to nothing
	Recovery    *recovery.Summary `json:"recovery,omitempty"` // how recoverable its database is

	// Restores are those of its database that aren't over, at work or standing still.
	Restores []rollout.Restoring `json:"restores,omitempty"`
}

// Burn is how fast the error budget goes over one window: 1 is exactly as fast as the objective allows.
type Burn struct {
	Window journal.Duration `json:"window"`
	Rate   float64          `json:"rate"`
}

// Update is one item of the live stream. Exactly one field is set. Events are numbered and can be taken up again from
// any number; the others say what is now, and the latest wins.
type Update struct {
	Event     *journal.Event   `json:"event,omitempty"`
	Status    *Status          `json:"status,omitempty"`
	Instances *InstancesUpdate `json:"instances,omitempty"`
}

// InstancesUpdate tells which instances changed since the update before it on the same stream.
type InstancesUpdate struct {
	All     bool               `json:"all,omitempty"` // Changed holds every instance: forget the others
	Changed []rollout.Instance `json:"changed,omitempty"`
	Gone    []string           `json:"gone,omitempty"` // ids
}

// LogQuery chooses log lines.
type LogQuery struct {
	Release  string `json:"release,omitempty"`
	Instance string `json:"instance,omitempty"`
	Lines    int    `json:"lines,omitempty"` // how many of the past, newest ones
	After    int64  `json:"after,omitempty"` // only lines with a higher Seq: where an earlier stream broke off
	Follow   bool   `json:"follow,omitempty"`
}

// LogLine is one line an instance wrote.
type LogLine struct {
	Seq      int64     `json:"seq"` // rises from line to line, also over restarts of covetd
	At       time.Time `json:"at"`
	Release  string    `json:"release"`
	Instance string    `json:"instance"`
	Stream   string    `json:"stream"` // stdout or stderr
	Text     string    `json:"text"`
}

// Port is the one door through which covetctl and the TUI reach a service. Ask and Do fill out with the type the Op names;
// their errors are *Error. Watch yields the live stream, events numbered above after first; it ends with an error when the
// connection is lost, and the caller takes it up again from the last number it saw.
type Port interface {
	Ask(ctx context.Context, op Op, q Query, out any) error
	Do(ctx context.Context, op Op, in, out any) error
	Watch(ctx context.Context, after journal.Seq) iter.Seq2[Update, error]
	Logs(ctx context.Context, q LogQuery) iter.Seq2[LogLine, error]
}
