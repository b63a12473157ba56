package console

import (
	"context"
	"strings"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func (d *Desk) openIncident(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[IncidentRequest](body)
	if err != nil {
		return nil, nil, err
	}
	severity := health.Severity(strings.ToUpper(string(in.Severity)))
	if severity.Rank() == 0 {
		return nil, nil, fail(CodeUsage, "P0 is a service down, P1 major functionality broken, P2 minor with a workaround, P3 cosmetic", "severity %q: choose one of P0, P1, P2, P3", in.Severity)
	}
	if strings.TrimSpace(in.Reason) == "" {
		return nil, nil, fail(CodeUsage, `for example --reason "checkout answers 500"`, "an incident needs a reason")
	}
	i := health.Declare(d.Matrix, severity, in.Reason, d.now())
	if s.Active != nil {
		i.Rollout = s.Active.ID
	}
	e := journal.New(d.now(), who, health.IncidentOpened, health.NextID(s.Incidents), i)
	return d.withIncident(s, e)
}

// withIncident answers with the incident as the event leaves it.
func (d *Desk) withIncident(s rollout.State, e journal.Event) ([]journal.Event, any, error) {
	after, err := s.Incidents.Fold(e)
	if err != nil {
		return nil, nil, err
	}
	i, _ := after.Find(e.Subject)
	return []journal.Event{e}, i, nil
}

func (d *Desk) ackIncident(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	return d.noteIncident(s, who, body, health.IncidentAcked)
}

func (d *Desk) closeIncident(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	return d.noteIncident(s, who, body, health.IncidentClosed)
}

func (d *Desk) noteIncident(s rollout.State, who string, body []byte, kind journal.Kind) ([]journal.Event, any, error) {
	in, err := parse[Target](body)
	if err != nil {
		return nil, nil, err
	}
	i, err := findIncident(s, in.ID)
	if err != nil {
		return nil, nil, err
	}
	if !i.Open() {
		return nil, nil, fail(CodeRefused, "open a new one if it is back: covetctl incident open", "incident %s was closed by %s", i.ID, i.ClosedBy)
	}
	if kind == health.IncidentAcked && !i.AckedAt.IsZero() {
		return nil, i, nil
	}
	return d.withIncident(s, journal.New(d.now(), who, kind, i.ID, health.IncidentNote{Note: in.Reason}))
}
