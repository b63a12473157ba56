package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Incidents lists what is and was wrong, with the evidence and what is due.
type Incidents struct {
	panes
	list   widget.List
	height int
	filter string
}

// NewIncidents makes the page.
func NewIncidents() *Incidents { return &Incidents{panes: panes{count: 2}} }

// Filter shows only incidents in which the text occurs.
func (p *Incidents) Filter(text string) { p.filter = strings.ToLower(text) }

// rows are the open ones, worst first, and then the others.
func (p *Incidents) rows(c Context) []health.Incident {
	var out []health.Incident
	if c.Snap.Status != nil {
		out = append(out, c.Snap.Status.Incidents...)
	}
	for _, i := range c.Snap.Incidents {
		if !slices.ContainsFunc(out, func(o health.Incident) bool { return o.ID == i.ID }) {
			out = append(out, i)
		}
	}
	return slices.DeleteFunc(out, func(i health.Incident) bool {
		text := strings.ToLower(strings.Join([]string{i.ID, string(i.Severity), i.Reason, i.Release, i.Note}, " "))
		return p.filter != "" && !strings.Contains(text, p.filter)
	})
}

// Selection is the incident under the cursor.
func (p *Incidents) Selection(c Context) action.Selection {
	if rows := p.rows(c); len(rows) > 0 {
		i := rows[min(max(p.list.Cursor, 0), len(rows)-1)]
		return action.Selection{Incident: i.ID, Rollout: i.Rollout, Release: i.Release}
	}
	return action.Selection{}
}

// Key moves between incidents and panels.
func (p *Incidents) Key(key string, c Context) bool {
	return p.key(key) || p.list.Key(key, len(p.rows(c)), p.height)
}

// Draw draws the list, and the selected incident below or beside it.
func (p *Incidents) Draw(r widget.Region, c Context) {
	rows := p.rows(c)
	if Small(r) {
		p.table(r, c, rows)
		return
	}
	list := r.Sub(0, 0, r.W, max(min(len(rows)+3, r.H/3), 5))
	detail := r.Sub(0, list.H, r.W, r.H-list.H)
	if Wide(r) {
		list, detail = r.Sub(0, 0, r.W/2, r.H), r.Sub(r.W/2, 0, r.W-r.W/2, r.H)
	}
	if p.zoomed {
		list, detail = r, r
	}
	if !p.zoomed || p.focus == 0 {
		open := len(c.Snap.Status.Incidents)
		panel := widget.Panel{Title: "incidents", State: fmt.Sprintf("%d open", open), Role: theme.Bad, Focus: p.focus == 0, Note: "I declares one"}
		if open == 0 {
			panel.State, panel.Role = c.G.OK+" none open", theme.OK
		}
		p.table(panel.Draw(list, c.G), c, rows)
	}
	if !p.zoomed || p.focus == 1 {
		p.detail(detail, c, rows)
	}
}

func (p *Incidents) table(r widget.Region, c Context, rows []health.Incident) {
	p.height = r.H
	if len(rows) == 0 {
		r.PutCut(0, 0, r.W, theme.Muted, "there has been no incident", c.G.Ellipsis)
		return
	}
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 1}, {Title: "SEV", Width: 4}, {Title: "ID", Width: 6, Rank: 3}, {Title: "STATE", Width: 12, Rank: 1}, {Title: "AGE", Width: 6, Right: true, Rank: 2}, {Title: "REASON", Width: 20, Grow: true},
	}, r.W)
	from, to := p.list.Fit(len(rows), r.H)
	for i := from; i < to; i++ {
		in := rows[i]
		state, role := "OPEN", theme.Bad
		switch {
		case !in.Open():
			state, role = "closed", theme.Muted
		case !in.AckedAt.IsZero():
			state, role = "acknowledged", theme.Warn
		}
		mark := ""
		if i == p.list.Cursor {
			mark = c.G.Select
		}
		texts := []string{mark, severityWord(in.Severity, c.G), in.ID, state, since(in.OpenedAt, c.Now), in.Reason}
		for _, s := range slots {
			cell := theme.Text
			if s.Index == 3 {
				cell = role
			}
			if s.Index == 1 && in.Open() {
				cell = severityRole(in.Severity)
			}
			s.Cell(r, i-from, cell, texts[s.Index], c.G)
		}
		if i == p.list.Cursor {
			r.Choose(i - from)
		}
	}
}

func (p *Incidents) detail(r widget.Region, c Context, rows []health.Incident) {
	if len(rows) == 0 {
		drawEvidence(r, c)
		return
	}
	in := rows[min(max(p.list.Cursor, 0), len(rows)-1)]
	inner := widget.Panel{Title: "incident " + in.ID, State: severityWord(in.Severity, c.G), Role: severityRole(in.Severity), Focus: p.focus == 1, Foot: "K acknowledges " + c.G.Dot + " C closes " + c.G.Dot + " B rolls back"}.Draw(r, c.G)
	by := "by " + in.OpenedBy
	if in.Automatic {
		by = "by covetd itself"
	}
	action := in.Action
	if d := due(in, c.Now, widget.Age); d != "" && in.Open() {
		action += ", " + d
	}
	facts := [][2]string{
		{"what", in.Reason}, {"since", stamp(in.OpenedAt, c.Now) + ", " + since(in.OpenedAt, c.Now) + " ago, " + by},
		{"about", strings.TrimSpace(in.Release + " " + in.Rollout)}, {"do", action}, {"who may", in.Approver},
		{"seen", person(in.AckedBy, in.AckedAt.IsZero())}, {"closed", person(in.ClosedBy, in.ClosedAt.IsZero())}, {"note", in.Note},
	}
	y := 0
	for _, f := range facts {
		if f[1] == "" {
			continue
		}
		inner.Put(0, y, theme.Muted, f[0])
		inner.PutCut(9, y, inner.W-9, theme.Text, f[1], c.G.Ellipsis)
		y++
	}
	drawRows(inner.Sub(0, y+1, inner.W, inner.H-y-1), c, in.Rows)
}

func person(name string, never bool) string {
	if never {
		return ""
	}
	return "by " + name
}
