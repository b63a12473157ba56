package console

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/rollout"
)

// Live is what is known beyond the journal while covetd runs.
type Live interface {
	Snapshot() rollout.Snapshot
	Points() (total Point, releases map[string]Point)
	Series() Series
	Problems() []string
}

// Verifier checks that a release can run here at all: that its files are there and are still what they were.
type Verifier interface {
	Verify(ctx context.Context, r rollout.Release) error
}

// Info is what does not change while covetd runs.
type Info struct {
	Service     string
	Environment string
	Platform    string
	Version     string
	PID         int
	StartedAt   time.Time
}

// Desk answers questions and takes commands. It never acts on the platform itself: a command becomes an event in the
// journal, and the engine does the rest.
type Desk struct {
	Keeper   *rollout.Keeper
	Live     Live     // nil when covetd is not running and only its journal is at hand
	Verifier Verifier // nil likewise
	Surveyor Surveyor // nil where the platform does exactly as it is told
	Recorder Recorder // nil where a request to record a release says all of it
	Sweeper  Sweeper  // nil where a release is nothing but its record
	Info     Info
	Matrix   health.Matrix
	Burn     func(now time.Time) []Burn               // nil likewise
	Recovery func() *recovery.Posture                 // nil where no backup is configured; its answer is nil before the first look
	Roles    func(ctx context.Context) (Roles, error) // nil: everybody may do everything
	Log      *slog.Logger
	Now      func() time.Time // time.Now if nil
}

func (d *Desk) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

// Ask answers a question. Errors are *Error.
func (d *Desk) Ask(ctx context.Context, op Op, q Query) (any, error) {
	s := d.Keeper.State()
	switch op {
	case GetStatus:
		return d.status(), nil
	case GetReleases:
		return releases(s), nil
	case GetRelease:
		r, err := findRelease(s, q.ID)
		if err != nil {
			return nil, err
		}
		r.Manifest = r.Manifest.Masked()
		return r, nil
	case GetRollouts:
		return rollouts(s, q.Limit), nil
	case GetRollout:
		return d.timeline(ctx, s, q.ID)
	case GetIncidents:
		return newestFirst(s.Incidents), nil
	case GetIncident:
		return findIncident(s, q.ID)
	case GetAudit:
		return d.audit(ctx, q)
	case GetSeries:
		if d.Live == nil {
			return Series{}, nil
		}
		return d.Live.Series(), nil
	case GetInstances:
		return sorted(d.seen()), nil
	case GetRecovery:
		return d.posture()
	case GetRestores:
		return append([]rollout.Restoring{}, s.Restores...), nil
	}
	return nil, fail(CodeUsage, "this covetctl may be newer than the covetd it talks to", "there is no question %q", op)
}

// command is a use case that changes something. It decides on the state and returns the events to journal and the answer.
type command func(d *Desk, ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error)

var commands = map[Op]command{
	AddRelease:    (*Desk).addRelease,
	RemoveRelease: (*Desk).removeRelease,
	PruneReleases: (*Desk).pruneReleases,
	StartRollout:  (*Desk).startRollout,
	PauseRollout:  (*Desk).pauseRollout,
	ResumeRollout: (*Desk).resumeRollout,
	Promote:       (*Desk).promote,
	AbortRollout:  (*Desk).abortRollout,
	RetryRollout:  (*Desk).retryRollout,
	Rollback:      (*Desk).rollback,
	StopService:   (*Desk).stopService,
	StartService:  (*Desk).startService,
	NoteRestore:   (*Desk).noteRestore,
	NoteRemoval:   (*Desk).noteRemoval,
	OpenIncident:  (*Desk).openIncident,
	AckIncident:   (*Desk).ackIncident,
	CloseIncident: (*Desk).closeIncident,
}

// Do takes a command from a person. What was accepted is durable in the journal before Do returns. Errors are *Error.
func (d *Desk) Do(ctx context.Context, by Caller, op Op, body []byte) (any, error) {
	run, ok := commands[op]
	if !ok {
		return nil, fail(CodeUsage, "this covetctl may be newer than the covetd it talks to", "there is no command %q", op)
	}
	var answer any
	s, err := d.Keeper.Decide(ctx, func(s rollout.State) ([]journal.Event, error) {
		approval, err := d.authorize(ctx, s, by, op, body)
		if err != nil {
			return nil, err
		}
		events, result, err := run(d, ctx, s, by.Name, body)
		answer = result
		if len(events) > 0 {
			events = append(approval, events...)
		}
		return events, err
	})
	if err != nil {
		return nil, d.refused(ctx, by.Name, op, err)
	}
	if ack, ok := answer.(Ack); ok {
		ack.Seq = s.Seq
		return ack, nil
	}
	return answer, nil
}

// refused turns any error into an *Error, and writes refusals to the audit log.
func (d *Desk) refused(ctx context.Context, who string, op Op, err error) error {
	var known *Error
	switch {
	case errors.As(err, &known):
	case errors.Is(err, rollout.ErrSuspended):
		return fail(CodeUnreachable, "try again in a few seconds", "covetd is handing over to a new process")
	default:
		return fail(CodeInternal, "see covetd's log; check that its data directory is writable and has space", "%v", err)
	}
	if known.Code == CodeRefused || known.Code == CodeDenied || known.Code == CodeLocked {
		e := journal.New(d.now(), who, RequestRefused, "", Refusal{Op: op, Message: known.Message})
		_, werr := d.Keeper.Decide(ctx, func(rollout.State) ([]journal.Event, error) { return []journal.Event{e}, nil })
		if werr != nil {
			d.Log.Error("a refusal could not be written to the audit log", "op", op, "by", who, "refusal", known.Message, "error", werr)
		}
	}
	return known
}

// parse reads a command's body strictly: a field it does not know would silently be ignored otherwise.
func parse[T any](body []byte) (T, error) {
	var v T
	if len(body) == 0 {
		return v, nil
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, fail(CodeUsage, "", "the request cannot be read: %v", err)
	}
	return v, nil
}

func findRelease(s rollout.State, version string) (rollout.Release, error) {
	if r, ok := s.Releases[version]; ok {
		return r, nil
	}
	known := slices.Sorted(maps.Keys(s.Releases))
	hint := "there are none yet: covetctl release add VERSION -- COMMAND"
	if len(known) > 0 {
		hint = "known releases: " + strings.Join(known, ", ")
	}
	return rollout.Release{}, fail(CodeNotFound, hint, "there is no release %q", version)
}

func findIncident(s rollout.State, id string) (health.Incident, error) {
	i, ok := s.Incidents.Find(id)
	if ok {
		return i, nil
	}
	if id == "" {
		return i, fail(CodeNotFound, "covetctl incident list --all shows the closed ones", "no incident is open")
	}
	return i, fail(CodeNotFound, "covetctl incident list shows the ones there are", "there is no incident %q", id)
}

func releases(s rollout.State) []rollout.Release {
	out := slices.Collect(maps.Values(s.Releases))
	for i := range out {
		out[i].Manifest = out[i].Manifest.Masked()
	}
	slices.SortFunc(out, func(a, b rollout.Release) int {
		if c := b.AddedAt.Compare(a.AddedAt); c != 0 {
			return c
		}
		return strings.Compare(b.Version, a.Version)
	})
	return out
}

func rollouts(s rollout.State, limit int) []rollout.Rollout {
	out := newestFirst(s.History)
	if s.Active != nil {
		out = append([]rollout.Rollout{*s.Active}, out...)
	}
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

func newestFirst[T any](in []T) []T {
	out := append([]T{}, in...)
	slices.Reverse(out)
	return out
}

// maxAudit bounds one answer of the audit log.
const maxAudit = 10_000

func (d *Desk) audit(ctx context.Context, q Query) ([]AuditEntry, error) {
	limit := q.Limit
	if limit <= 0 || limit > maxAudit {
		limit = 100
	}
	events, err := d.Keeper.Since(ctx, 0, int(^uint(0)>>1))
	if err != nil {
		return nil, fail(CodeInternal, "", "read the audit log: %v", err)
	}
	out := []AuditEntry{}
	for i := len(events) - 1; i >= 0 && len(out) < limit; i-- {
		if q.Before == 0 || events[i].Seq < q.Before {
			out = append(out, Describe(events[i]))
		}
	}
	return out, nil
}

func (d *Desk) timeline(ctx context.Context, s rollout.State, id string) (Timeline, error) {
	r, ok := s.Find(id)
	if !ok && id == "" {
		return Timeline{}, fail(CodeNotFound, "covetctl rollout start VERSION begins one", "there has been no rollout yet")
	}
	if !ok {
		return Timeline{}, fail(CodeNotFound, "covetctl rollout history lists them", "there is no rollout %q", id)
	}
	events, err := d.Keeper.Since(ctx, 0, int(^uint(0)>>1))
	if err != nil {
		return Timeline{}, fail(CodeInternal, "", "read the rollout's events: %v", err)
	}
	t := Timeline{Rollout: r, Events: []AuditEntry{}}
	for _, e := range events {
		if e.Subject == r.ID || concerns(e, r.ID) {
			t.Events = append(t.Events, Describe(e))
		}
	}
	return t, nil
}

// concerns reports whether an incident's event is about the rollout.
func concerns(e journal.Event, id string) bool {
	if e.Kind != health.IncidentOpened && e.Kind != health.IncidentEscalated {
		return false
	}
	return decoded[health.Incident](e).Rollout == id
}
