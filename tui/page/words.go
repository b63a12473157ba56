package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/theme"
)

// sign is a state as people see it: a glyph, a word and a colour, each of which is enough alone.
type sign struct {
	glyph, word string
	role        theme.Role
}

func (s sign) String() string { return s.glyph + " " + s.word }

func instanceSign(s rollout.InstanceState, g theme.Glyphs) sign {
	switch s {
	case rollout.Ready:
		return sign{g.OK, "ready", theme.OK}
	case rollout.Starting:
		return sign{g.Wait, "starting", theme.Info}
	case rollout.Unready:
		return sign{g.Warn, "unready", theme.Warn}
	case rollout.Draining:
		return sign{g.Down, "draining", theme.Muted}
	case rollout.Stopping:
		return sign{g.Down, "stopping", theme.Muted}
	case rollout.BackOff:
		return sign{g.Bad, "backoff", theme.Bad}
	}
	return sign{g.Unknown, string(s), theme.Warn}
}

// trouble orders instance states, worst first.
func trouble(s rollout.InstanceState) int {
	switch s {
	case rollout.BackOff:
		return 0
	case rollout.Unready:
		return 1
	case rollout.Starting:
		return 2
	case rollout.Draining, rollout.Stopping:
		return 3
	}
	return 4
}

func rolloutSign(r *rollout.Rollout, g theme.Glyphs) sign {
	switch {
	case r.Phase == rollout.Succeeded:
		return sign{g.OK, "succeeded", theme.OK}
	case r.Phase == rollout.RolledBack:
		return sign{g.Bad, "rolled back", theme.Warn}
	case r.Phase == rollout.Failed:
		return sign{g.Bad, "FAILED", theme.Bad}
	case r.Phase == rollout.Aborting:
		return sign{g.Down, "going back", theme.Warn}
	case r.Contained:
		return sign{g.Bad, "CONTAINED", theme.Bad}
	case r.Paused:
		return sign{g.Pause, "PAUSED", theme.Warn}
	case r.Phase == rollout.Waiting:
		return sign{g.Pause, "WAITING for a person", theme.Warn}
	}
	return sign{g.Wait, string(r.Phase), theme.Info}
}

func severityRole(s health.Severity) theme.Role {
	switch s {
	case health.P0, health.P1:
		return theme.Bad
	case health.P2:
		return theme.Warn
	case health.P3:
		return theme.Info
	}
	return theme.OK
}

func severityWord(s health.Severity, g theme.Glyphs) string {
	if s == health.None {
		return g.OK + " ok"
	}
	return g.Warn + " " + string(s)
}

// eventSign is a glyph for an event, by what kind it is.
func eventSign(kind journal.Kind, text string, g theme.Glyphs) (string, theme.Role) {
	k := string(kind)
	switch {
	case strings.Contains(text, "FAILED"), strings.Contains(text, "rolling back"), strings.HasSuffix(k, ".refused"),
		strings.HasSuffix(k, ".contained"), strings.HasSuffix(k, ".quarantined"):
		return g.Bad, theme.Bad
	case kind == health.IncidentOpened, kind == health.IncidentEscalated, strings.HasSuffix(k, ".aborting"), strings.HasPrefix(text, "rolled back"):
		return g.Warn, theme.Warn
	case strings.HasSuffix(k, ".waiting"), strings.HasSuffix(k, ".paused"):
		return g.Pause, theme.Warn
	case strings.HasSuffix(k, ".ended"), strings.HasSuffix(k, ".closed"):
		return g.OK, theme.OK
	}
	return g.Dot, theme.Muted
}

// due says how long is left for an incident's action.
func due(i health.Incident, now time.Time, age func(time.Duration) string) string {
	switch {
	case i.Deadline.IsZero():
		return ""
	case now.After(i.Deadline):
		return "overdue by " + age(now.Sub(i.Deadline))
	}
	return "within " + age(i.Deadline.Sub(now))
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// move names a rollout's releases: "v1.0.0 → v1.1.0".
func move(r *rollout.Rollout, g theme.Glyphs) string {
	return fmt.Sprintf("%s %s %s", or(r.From, "nothing"), g.Arrow, r.To)
}

func kind(r *rollout.Rollout) string {
	if r.Purpose == rollout.Rollback {
		return "rollback"
	}
	return string(r.Strategy)
}
