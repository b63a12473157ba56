package console

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func TestParseRoles(t *testing.T) {
	r, err := ParseRolesText("engineer=dev, ops ; on-call lead = oncall;team_lead=user:ann;")
	if err != nil || len(r) != 3 || len(r[Engineer]) != 2 || r[TeamLead][0] != "user:ann" {
		t.Fatalf("%v, %v", r, err)
	}
	for _, bad := range []string{"chief=x", "engineer", "engineer="} {
		if _, err := ParseRolesText(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if got := (Roles{}).Of(Caller{Name: "eve"}); len(got) != 4 {
		t.Errorf("without roles: %v", got)
	}
	if got := r.Of(Caller{Name: "ann", Groups: []string{"dev"}}); len(got) != 2 {
		t.Errorf("ann is %v", got)
	}
}

// With a P1 open, going back is the on-call lead's decision; an engineer may break the glass, and that is written down.
func TestWhoMayGoBack(t *testing.T) {
	begun := time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC)
	d := deskWith(t, journal.New(begun, "covetd", rollout.ServiceAdopted, "v2", rollout.Adoption{Instances: 2, Previous: "v1"}),
		journal.New(begun, "covetd", health.IncidentOpened, "i-1", health.Declare(health.DefaultMatrix(), health.P1, "checkout", begun)))
	d.Roles = func(context.Context) (Roles, error) {
		return Roles{Engineer: {"dev"}, OnCallLead: {"oncall"}, TeamLead: {"leads"}}, nil
	}
	give := func(groups string, in RollbackRequest) error {
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Do(t.Context(), Caller{Name: "bob", Groups: strings.Fields(groups)}, Rollback, body)
		return err
	}
	denied := func(err error, words string) {
		t.Helper()
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeDenied || !strings.Contains(e.Message, words) {
			t.Errorf("%v, want denied: %s", err, words)
		}
	}
	denied(give("", RollbackRequest{}), "bob has no role here")
	denied(give("dev", RollbackRequest{}), "on-call-lead (oncall) or team-lead (leads), since incident i-1 is P1; bob is engineer")
	denied(give("dev", RollbackRequest{Common: Common{BreakGlass: true}}), "i-1 is P1")
	if err := give("dev", RollbackRequest{Common: Common{Plan: true}}); err != nil {
		t.Errorf("a plan needs no right: %v", err)
	}
	if err := give("dev", RollbackRequest{Common: Common{BreakGlass: true, Reason: "the lead sleeps"}}); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range auditOf(t, d) {
		found = found || e.Kind == ApprovalGiven && strings.Contains(e.Text, "BREAK GLASS: rollback by engineer, although it is for on-call-lead") && strings.Contains(e.Text, "the lead sleeps")
	}
	if !found {
		t.Error("it was not written down")
	}
}

func auditOf(t *testing.T, d *Desk) []AuditEntry {
	t.Helper()
	list, err := d.audit(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
