package console

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// Caller is who asks, as the platform vouches for it.
type Caller struct {
	Name   string
	Groups []string
}

// Duty is a role that a person has in the operation of a service.
type Duty string

// The duties, in the order of the decision matrix.
const (
	Engineer     Duty = "engineer"
	OnCallLead   Duty = "on-call-lead"
	TeamLead     Duty = "team-lead"
	ProductOwner Duty = "product-owner"
)

var duties = []Duty{Engineer, OnCallLead, TeamLead, ProductOwner}

// Roles says who has which duty: names of groups, or of one person as user:NAME. Where nobody has any, everybody has all.
type Roles map[Duty][]string

// ParseRoles reads who has which duty: names separated by commas or white space, by the duty's name.
func ParseRoles(in map[string]string) (Roles, error) {
	out := Roles{}
	for name, members := range in {
		duty := Duty(strings.ToLower(strings.NewReplacer(" ", "-", "_", "-").Replace(strings.TrimSpace(name))))
		if !slices.Contains(duties, duty) {
			return nil, fmt.Errorf("there is no role %q: there are engineer, on-call-lead, team-lead and product-owner", name)
		}
		list := strings.FieldsFunc(members, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
		if len(list) == 0 {
			return nil, fmt.Errorf("role %s is given to nobody: name groups, or user:NAME", duty)
		}
		out[duty] = append(out[duty], list...)
	}
	return out, nil
}

// ParseRolesText reads role=group,group;role=… in one line.
func ParseRolesText(text string) (Roles, error) {
	in := map[string]string{}
	for _, part := range strings.Split(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, members, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not ROLE=GROUP,GROUP", part)
		}
		in[strings.TrimSpace(name)] += "," + members
	}
	return ParseRoles(in)
}

// Of lists the duties that a caller has.
func (r Roles) Of(c Caller) []Duty {
	if len(r) == 0 {
		return duties
	}
	var out []Duty
	for _, d := range duties {
		if slices.ContainsFunc(r[d], func(m string) bool { return m == "user:"+c.Name || slices.Contains(c.Groups, m) }) {
			out = append(out, d)
		}
	}
	return out
}

// suffices lists the duties whose holders may do what is one's: a team lead may decide for those below.
var suffices = map[Duty][]Duty{
	Engineer:     duties,
	OnCallLead:   {OnCallLead, TeamLead},
	TeamLead:     {TeamLead},
	ProductOwner: {ProductOwner, TeamLead},
}

// ApprovalGiven is the kind of the audit events that say by which right a decision was taken, and on what evidence.
const ApprovalGiven journal.Kind = "approval.given"

// Approval is the data of ApprovalGiven.
type Approval struct {
	Op         Op           `json:"op"`
	Duty       Duty         `json:"role"`   // by which right
	Needed     Duty         `json:"needed"` // whose decision it is
	Why        string       `json:"why"`    // what makes it theirs
	BreakGlass bool         `json:"break_glass,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	PlanHash   string       `json:"plan_hash,omitempty"`
	Evidence   []health.Row `json:"evidence,omitempty"` // as it was on the screen
}

// ownDecision says whose decision a command is as things stand, and why. Taking traffic from a candidate is anybody's.
func (d *Desk) ownDecision(s rollout.State, op Op) (Duty, string) {
	a := s.Active
	switch {
	case op == Promote && a != nil && a.Contained:
		rule := d.Matrix.Rule(health.P1)
		return dutyOf(rule.Approver), fmt.Sprintf("%s was contained by a P1", a.To)
	case op == Rollback && a == nil:
		for _, i := range s.Incidents.OpenOnes() {
			if i.Subject == "" {
				return dutyOf(i.Approver), fmt.Sprintf("incident %s is %s", i.ID, i.Severity)
			}
		}
	}
	return Engineer, "nothing makes it another's"
}

// dutyOf is the duty that the matrix names for people.
func dutyOf(approver string) Duty {
	name := Duty(strings.ReplaceAll(strings.TrimPrefix(approver, "any "), " ", "-"))
	if slices.Contains(duties, name) {
		return name
	}
	return Engineer
}

// weighty are the commands whose approval is written down.
var weighty = []Op{StartRollout, RetryRollout, Promote, AbortRollout, Rollback}

// authorize checks that the caller may give the command as things stand. It returns the event that says by which right, where
// roles are given to anybody.
func (d *Desk) authorize(ctx context.Context, s rollout.State, by Caller, op Op, body []byte) ([]journal.Event, error) {
	if d.Roles == nil {
		return nil, nil
	}
	roles, err := d.Roles(ctx)
	if err != nil || len(roles) == 0 {
		return nil, err
	}
	var in Common
	if err := json.Unmarshal(orEmpty(body), &in); err != nil {
		return nil, fail(CodeUsage, "", "the request cannot be read: %v", err)
	}
	if in.Plan {
		return nil, nil // a plan does nothing
	}
	need, why := d.ownDecision(s, op)
	have := roles.Of(by)
	at := slices.IndexFunc(have, func(h Duty) bool { return slices.Contains(suffices[need], h) })
	ap := Approval{Op: op, Needed: need, Why: why, Reason: in.Reason, PlanHash: in.PlanHash, Evidence: d.evidence(s)}
	switch {
	case at >= 0:
		ap.Duty = have[at]
	case in.BreakGlass && len(have) > 0 && strings.TrimSpace(in.Reason) != "":
		ap.Duty, ap.BreakGlass = have[0], true
	default:
		return nil, denied(roles, by, have, need, why, op)
	}
	if !ap.BreakGlass && !slices.Contains(weighty, op) {
		return nil, nil
	}
	id := ""
	if s.Active != nil {
		id = s.Active.ID
	}
	return []journal.Event{journal.New(d.now(), by.Name, ApprovalGiven, id, ap)}, nil
}

func orEmpty(body []byte) []byte {
	if len(body) == 0 {
		return []byte("{}")
	}
	return body
}

// evidence is what the matrix says now, or what the worst incident was opened for.
func (d *Desk) evidence(s rollout.State) []health.Row {
	if d.Live != nil {
		if rows := d.Live.Snapshot().Health.Decision.Rows; len(rows) > 0 {
			return rows
		}
	}
	if open := s.Incidents.OpenOnes(); len(open) > 0 {
		return open[0].Rows
	}
	return nil
}

func denied(roles Roles, by Caller, have []Duty, need Duty, why string, op Op) error {
	named := make([]string, 0, len(suffices[need]))
	for _, duty := range suffices[need] {
		if len(roles[duty]) > 0 {
			named = append(named, fmt.Sprintf("%s (%s)", duty, strings.Join(roles[duty], ", ")))
		}
	}
	slices.Sort(named)
	if len(have) == 0 {
		return fail(CodeDenied, "whoever gives out the roles can add you or one of your groups: "+orNone(strings.Join(by.Groups, ", ")),
			"%s is for %s, and %s has no role here", op, strings.Join(named, " or "), by.Name)
	}
	return fail(CodeDenied, "ask one of them; where none can be reached, --break-glass with a --reason does it all the same, and is written down",
		"%s is for %s, since %s; %s is %s", op, strings.Join(named, " or "), why, by.Name, join(have))
}

func join(have []Duty) string {
	out := make([]string, 0, len(have))
	for _, h := range have {
		out = append(out, string(h))
	}
	return strings.Join(out, ", ")
}

// Describe says in one line who has which role.
func (r Roles) Describe() string {
	var out []string
	for _, d := range slices.Sorted(maps.Keys(r)) {
		out = append(out, fmt.Sprintf("%s: %s", d, strings.Join(r[d], ", ")))
	}
	return strings.Join(out, "; ")
}

func sayApproval(e journal.Event) string {
	a := decoded[Approval](e)
	if a.BreakGlass {
		return because(fmt.Sprintf("BREAK GLASS: %s by %s, although it is for %s (%s)", a.Op, a.Duty, a.Needed, a.Why), a.Reason)
	}
	return fmt.Sprintf("%s approved as %s (%s)", a.Op, a.Duty, a.Why)
}
