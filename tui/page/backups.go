package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Backups shows how recoverable the database is: the objectives, the recovery window, the backups, drills and jobs.
type Backups struct {
	panes
	list   widget.List
	height int
	filter string
}

// NewBackups makes the page.
func NewBackups() *Backups { return &Backups{panes: panes{count: 2}} }

// Filter shows only backups in which the text occurs.
func (p *Backups) Filter(text string) { p.filter = strings.ToLower(text) }

func (p *Backups) rows(c Context) []recovery.BackupState {
	if c.Snap.Recovery == nil {
		return nil
	}
	var out []recovery.BackupState
	for _, b := range c.Snap.Recovery.Backups {
		if p.filter == "" || strings.Contains(strings.ToLower(b.ID+" "+b.Label), p.filter) {
			out = append(out, b)
		}
	}
	return out
}

// Selection is the backup under the cursor.
func (p *Backups) Selection(c Context) action.Selection {
	if rows := p.rows(c); len(rows) > 0 {
		return action.Selection{Backup: rows[min(max(p.list.Cursor, 0), len(rows)-1)].ID}
	}
	return action.Selection{}
}

// Key moves between backups and panels.
func (p *Backups) Key(key string, c Context) bool {
	return p.key(key) || p.list.Key(key, len(p.rows(c)), p.height)
}

// Draw draws the panels that there is room for.
func (p *Backups) Draw(r widget.Region, c Context) {
	if c.Snap.Recovery == nil {
		noPosture(r, c)
		return
	}
	if Small(r) {
		p.table(r, c)
		return
	}
	if p.zoomed {
		[]func(widget.Region, Context){p.backups, p.past}[p.focus](r, c)
		return
	}
	top := 9
	if c.Snap.Recovery.Unknown != "" || c.Snap.RecoveryProblem != "" {
		top++
	}
	posture := r.Sub(0, 0, r.W, min(top, r.H))
	rest := r.Sub(0, posture.H, r.W, r.H-posture.H)
	drawPosture(posture, c)
	if Wide(r) {
		p.backups(rest.Sub(0, 0, rest.W*3/5, rest.H), c)
		p.past(rest.Sub(rest.W*3/5, 0, rest.W-rest.W*3/5, rest.H), c)
		return
	}
	parts := stack(rest, max(min(len(p.rows(c))+3, rest.H*3/5), 4), 3)
	p.backups(parts[0], c)
	p.past(parts[1], c)
}

// noPosture says why nothing is known of backups.
func noPosture(r widget.Region, c Context) {
	if c.Snap.RecoveryProblem == "" {
		hint(r, "reading the repository"+c.G.Ellipsis)
		return
	}
	lines := widget.Wrap(c.Snap.RecoveryProblem, max(r.W-4, 10))
	hint(r, append(lines, "", "covetctl backup config shows where backups are looked for", "covetctl backup init says what is missing")...)
}

// drawPosture draws the objectives and the recovery window.
func drawPosture(r widget.Region, c Context) {
	s := c.Snap.Recovery
	in := widget.Panel{Title: "recovery", State: postureSign(s, c).String(), Role: postureSign(s, c).role, Note: s.Repository, Foot: "t restores to a point in time " + c.G.Dot + " S runs a job now"}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	drawMeasure(in, 0, c, "RPO", "may be lost", s.RPO)
	drawMeasure(in, 1, c, "RTO", "to come back", s.RTO)
	y := 2
	if why := or(c.Snap.RecoveryProblem, s.Unknown); why != "" {
		in.PutCut(0, y, in.W, theme.Warn, fmt.Sprintf("%s this is of %s ago: %s", c.G.Warn, since(s.At, c.Now), why), c.G.Ellipsis)
		y++
	}
	if len(s.Coverage) == 0 {
		in.Put(0, y+1, theme.Bad, c.G.Bad+" nothing can be restored: there is no whole backup")
		in.Put(0, y+2, theme.Text, "  covetctl backup run makes one")
		return
	}
	t := timeline{from: s.Coverage[0].From.Add(-c.Now.Sub(s.Coverage[0].From) / 50), to: c.Now, w: in.W}
	t.axis(in, 0, y)
	t.drawReach(in, 0, y+1, c)
	t.drawMarkers(in, 0, y+2, markers(c))
	t.legend(in, 0, y+3, c)
	last := s.Coverage[len(s.Coverage)-1]
	text := fmt.Sprintf("from %s to %s", utc(s.Coverage[0].From), utc(last.To))
	if n := len(s.Gaps); n > 0 {
		text += fmt.Sprintf(" but for %s: %s", widget.Plural(n, "gap"), s.Gaps[0].First)
	}
	in.PutCut(0, y+4, in.W, theme.Text, text, c.G.Ellipsis)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func postureSign(s *recovery.Posture, c Context) sign { return summarySign(s.Summary(), c) }

// drawMeasure draws an objective, its limit, and what the number is from.
func drawMeasure(r widget.Region, y int, c Context, name, what string, m recovery.Measure) {
	x := r.Put(0, y, theme.Muted, name+" ")
	if !m.Known {
		r.PutCut(x, y, r.W-x, theme.Bad, c.G.Unknown+" unknown: "+m.Basis, c.G.Ellipsis)
		return
	}
	role, glyph := theme.OK, c.G.OK
	if m.Over {
		role, glyph = theme.Bad, c.G.Bad
	}
	x = r.Put(x, y, role, fmt.Sprintf("%s %s", glyph, widget.Age(m.Now.Std())))
	x = r.Put(x, y, theme.Text, fmt.Sprintf(" of %s %s ", widget.Age(m.Limit.Std()), what))
	x = max(x, 33)
	if bar := min(20, r.W-x-20); bar > 4 {
		r.Bar(x, y, bar, min(m.Ratio(), 1), role, theme.Muted, c.G)
		x += bar + 1
	}
	r.PutCut(x, y, r.W-x, theme.Muted, m.Basis, c.G.Ellipsis)
}

func (p *Backups) backups(r widget.Region, c Context) {
	rows := p.rows(c)
	state := strconv.Itoa(len(rows))
	if p.filter != "" {
		state = fmt.Sprintf("%d of %d", len(rows), len(c.Snap.Recovery.Backups))
	}
	a := c.Snap.Recovery.Archive
	p.table(widget.Panel{Title: "backups", State: state, Role: theme.Muted, Focus: p.focus == 0, Note: fmt.Sprintf("%d WAL segments, %s", a.Segments, widget.Bytes(a.Bytes))}.Draw(r, c.G), c)
}

func (p *Backups) table(r widget.Region, c Context) {
	rows := p.rows(c)
	if r.Empty() {
		return
	}
	if len(rows) == 0 {
		hint(r, "no backup: covetctl backup run makes one")
		return
	}
	p.height = max(r.H-1, 1)
	from, to := p.list.Fit(len(rows), p.height)
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 1}, {Title: "BACKUP", Width: 22}, {Title: "AGE", Width: 6, Right: true}, {Title: "SIZE", Width: 6, Right: true, Rank: 2}, {Title: "STORED", Width: 6, Right: true, Rank: 3},
		{Title: "TOOK", Width: 6, Right: true, Rank: 4}, {Title: "READ BACK", Width: 14, Rank: 1}, {Title: "LABEL", Width: 8, Grow: true, Rank: 5},
	}, r.W)
	widget.Heads(r, 0, slots, c.G)
	for i := from; i < to; i++ {
		b, chosen := rows[i], i == p.list.Cursor
		checked, role := readBack(b.Verified, c)
		cells := map[string]string{
			"": "", "BACKUP": b.ID, "AGE": since(b.Stopped, c.Now), "SIZE": widget.Bytes(b.Bytes), "STORED": widget.Bytes(b.Stored),
			"TOOK": widget.Age(b.Stopped.Sub(b.Started)), "READ BACK": checked, "LABEL": b.Label,
		}
		if chosen {
			cells[""] = c.G.Select
		}
		for _, s := range slots {
			cell := theme.Text
			if s.Title == "READ BACK" {
				cell = role
			}
			s.Cell(r, 1+i-from, cell, cells[s.Title], c.G)
		}
		if chosen {
			r.Choose(1 + i - from)
		}
	}
}

// readBack says when a backup was read back, and whether it was what had been written.
func readBack(v *backup.Verified, c Context) (string, theme.Role) {
	switch {
	case v == nil:
		return c.G.Unknown + " never", theme.Muted
	case len(v.Damage) > 0:
		return c.G.Bad + " DAMAGED", theme.Bad
	}
	return c.G.OK + " " + since(v.At, c.Now) + " ago", theme.OK
}

// past draws the drills and the jobs.
func (p *Backups) past(r widget.Region, c Context) {
	s := c.Snap.Recovery
	in := widget.Panel{Title: "jobs and drills", Focus: p.focus == 1, Note: "covetctl backup schedule"}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	y := 0
	for _, j := range s.Jobs {
		g, role := jobSign(j, c)
		text := g + " " + string(j.Kind)
		switch {
		case j.Last == nil:
			text += " has not run yet"
		case j.Last.OK:
			text += " " + since(j.Last.Ended, c.Now) + " ago: " + j.Last.Says
		default:
			text += fmt.Sprintf(" FAILED %d times, %s ago last: %s", j.Failures, since(j.Last.Ended, c.Now), j.Last.Says)
		}
		if !j.Next.IsZero() {
			text += fmt.Sprintf(" %s next %s", c.G.Dot, j.Next.UTC().Format("02 Jan 15:04Z"))
		}
		in.PutCut(0, y, in.W, role, text, c.G.Ellipsis)
		y++
	}
	if len(s.Jobs) == 0 {
		in.PutCut(0, y, in.W, theme.Warn, c.G.Warn+" nothing is scheduled: BACKUP_SCHEDULE, BACKUP_DRILL_SCHEDULE", c.G.Ellipsis)
		y++
	}
	if len(s.Drills) == 0 {
		in.PutCut(0, y, in.W, theme.Warn, c.G.Warn+" no restore was ever tried out: covetctl restore drill", c.G.Ellipsis)
	}
	for _, d := range s.Drills {
		if y >= in.H {
			return
		}
		glyph, role, word := c.G.OK, theme.OK, "passed"
		if !d.Passed() {
			glyph, role, word = c.G.Bad, theme.Bad, "FAILED"
		}
		in.PutCut(0, y, in.W, role, fmt.Sprintf("%s drill %s ago %s: %s back in %s, %d checks", glyph, since(d.Began, c.Now), word, d.Backup, widget.Age(d.Recovery.Std()), len(d.Checks)), c.G.Ellipsis)
		y++
	}
}

func jobSign(j recovery.JobState, c Context) (string, theme.Role) {
	switch {
	case j.Failures > 0:
		return c.G.Bad, theme.Bad
	case !j.Next.IsZero() && j.Next.Before(c.Now.Add(-time.Minute)):
		return c.G.Warn, theme.Warn
	case j.Last == nil:
		return c.G.Wait, theme.Muted
	}
	return c.G.OK, theme.Text
}
