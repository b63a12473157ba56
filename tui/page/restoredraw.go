package page

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Draw draws the point in time, what would be done, and the restore that is or was under way.
func (p *Restore) Draw(r widget.Region, c Context) {
	o := c.Snap.Restore
	if c.Snap.Recovery == nil {
		if o == nil {
			noPosture(r, c)
			return
		}
		drawRun(r, c, o)
		return
	}
	p.settle(c)
	if Small(r) {
		p.brief(r, c)
		return
	}
	point := r.Sub(0, 0, r.W, min(10, r.H))
	rest := r.Sub(0, point.H, r.W, r.H-point.H)
	p.drawPoint(point, c)
	if Wide(r) {
		p.drawPlan(rest.Sub(0, 0, rest.W/2, rest.H), c)
		drawRun(rest.Sub(rest.W/2, 0, rest.W-rest.W/2, rest.H), c, o)
		return
	}
	if o != nil && (!o.Finished() || c.Now.Sub(o.Ended) < 10*time.Minute) {
		drawRun(rest, c, o) // what is under way matters more than what could be
		return
	}
	if o == nil {
		p.drawPlan(rest, c)
		return
	}
	parts := stack(rest, max(7, rest.H/2), 3)
	p.drawPlan(parts[0], c)
	drawRun(parts[1], c, o)
}

// brief is all that fits into a small screen.
func (p *Restore) brief(r widget.Region, c Context) {
	if o := c.Snap.Restore; o != nil && !o.Finished() {
		drawRun(r, c, o)
		return
	}
	t := p.view(c, r.W)
	t.drawReach(r, 0, 0, c)
	t.drawMarkers(r, 0, 1, markers(c))
	p.drawTarget(r, 0, 2, t, c)
	r.PutCut(0, 3, r.W, theme.Strong, p.words(), c.G.Ellipsis)
	r.PutCut(0, 4, r.W, theme.Text, p.near(c), c.G.Ellipsis)
	r.PutCut(0, 5, r.W, theme.Warn, "loses "+p.loss(c), c.G.Ellipsis)
	r.PutCut(0, 6, r.W, theme.Bad, p.why(c), c.G.Ellipsis)
}

func (p *Restore) drawTarget(r widget.Region, x, y int, t timeline, c Context) {
	if p.exact != nil {
		return
	}
	at := p.at
	if p.latest {
		at = c.Now
	}
	if col := t.column(at); col >= 0 {
		r.Put(x+col, y, theme.Accent, c.G.Up)
	}
}

func (p *Restore) drawPoint(r widget.Region, c Context) {
	in := widget.Panel{Title: "point in time", State: p.words(), Role: theme.Strong, Note: "UTC", Focus: true,
		Foot: "left/right 1s " + c.G.Dot + " H/L 1m " + c.G.Dot + " </> 1h " + c.G.Dot + " m/M marker " + c.G.Dot + " g type " + c.G.Dot + " n newest " + c.G.Dot + " +/- zoom"}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	const head = 8
	t := p.view(c, in.W-head)
	t.axis(in, head, 0)
	in.Put(0, 1, theme.Muted, "log")
	t.drawReach(in, head, 1, c)
	in.Put(0, 2, theme.Muted, "errors")
	t.drawErrors(in, head, 2, c)
	in.Put(0, 3, theme.Muted, "events")
	t.drawMarkers(in, head, 3, markers(c))
	p.drawTarget(in, head, 4, t, c)
	in.Put(0, 5, theme.Muted, "target")
	x := in.Put(head, 5, theme.Strong, p.words())
	if near := p.near(c); near != "" {
		in.PutCut(x, 5, in.W-x, theme.Text, " = "+near, c.G.Ellipsis)
	}
	in.Put(0, 6, theme.Muted, "loses")
	role := theme.Warn
	if p.latest {
		role = theme.OK
	}
	in.PutCut(head, 6, in.W-head, role, p.loss(c), c.G.Ellipsis)
	if why := p.why(c); why != "" {
		in.Put(0, 7, theme.Bad, c.G.Bad)
		in.PutCut(head, 7, in.W-head, theme.Bad, why, c.G.Ellipsis)
	} else if problem := cmp.Or(c.Snap.RecoveryProblem, c.Snap.Recovery.Unknown); problem != "" {
		in.PutCut(head, 7, in.W-head, theme.Warn, fmt.Sprintf("%s this is of %s ago: %s", c.G.Warn, since(c.Snap.Recovery.At, c.Now), problem), c.G.Ellipsis)
	} else {
		t.legend(in, head, 7, c)
	}
}

func (p *Restore) drawPlan(r widget.Region, c Context) {
	in := widget.Panel{Title: "what would be done", State: "a dry run: nothing is touched yet", Role: theme.Muted, Foot: "p shows the plan " + c.G.Dot + " S does it " + c.G.Dot + " d directory " + c.G.Dot + " v release"}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	release := p.release(c)
	why := "chosen"
	if p.chosen == "" {
		why = "which serves now"
		if release != stable(c) {
			why = "which served then"
		}
	}
	drawFacts(in, 0, []fact{
		{"where", or(p.dir, "the database's own directory"), theme.Text},
		{"release", or(release, "none") + ", " + why, theme.Text},
		{"service", "stopped until the database is back: TRAFFIC STOPS", theme.Warn},
		{"steps", strings.Join([]string{"stop the service", "stop PostgreSQL", "copy the backup over it", "replay the log to the target", "promote", "check", "go to the release", "start the service"}, " "+c.G.Arrow+" "), theme.Muted},
	})
}

// drawRun draws a restore's record.
func drawRun(r widget.Region, c Context, o *restore.Operation) {
	if o == nil {
		in := widget.Panel{Title: "run"}.Draw(r, c.G)
		hint(in, "no restore was begun from here")
		return
	}
	s := runSign(o, c)
	foot := "leaving stops nothing: covetctl restore status --watch"
	if !o.Finished() && !c.Snap.Restoring {
		foot = "R goes on with it " + c.G.Dot + " A gives it up"
	}
	in := widget.Panel{Title: "run " + o.ID, State: s.String(), Role: s.role, Note: o.By, Foot: foot}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	y := 0
	if in.H > len(o.Steps) {
		y = drawFacts(in, y, []fact{{"target", fmt.Sprintf("%s %s release %s %s loses %s", o.Target, c.G.Dot, or(o.Release, "as before"), c.G.Dot, o.Loss), theme.Text}})
	}
	for i := range o.Steps {
		y = drawRunStep(in, y, c, &o.Steps[i], o.Progress)
	}
	if o.Error != "" && !c.Snap.Restoring {
		for _, l := range widget.Wrap(o.Error, in.W) {
			in.Put(0, y, theme.Bad, l)
			y++
		}
	}
}

func runSign(o *restore.Operation, c Context) sign {
	switch {
	case o.Dropped:
		return sign{c.G.Bad, "GIVEN UP", theme.Warn}
	case o.Finished():
		return sign{c.G.OK, "done " + since(o.Ended, c.Now) + " ago", theme.OK}
	case c.Snap.Restoring:
		return sign{c.G.Wait, "at work for " + since(o.Began, c.Now), theme.Info}
	}
	return sign{c.G.Bad, "STANDS STILL", theme.Bad}
}

func drawRunStep(r widget.Region, y int, c Context, s *restore.Step, now *backup.Progress) int {
	glyph, role := c.G.Dot, theme.Muted
	text := s.Do
	switch s.State {
	case restore.Done:
		glyph, role = c.G.OK, theme.OK
		text += "  " + s.Ended.Sub(s.Began).Round(100*time.Millisecond).String()
	case restore.Doing:
		glyph, role = c.G.Wait, theme.Info
		text += "  " + since(s.Began, c.Now)
	case restore.Failed:
		glyph, role = c.G.Bad, theme.Bad
	case restore.Pending:
	}
	r.Put(0, y, role, glyph)
	x := r.PutCut(2, y, r.W-2, role, text, c.G.Ellipsis)
	switch {
	case s.State == restore.Doing && now != nil:
		if bar := min(24, r.W-x-40); bar > 6 && now.Total > 0 {
			r.Bar(x+2, y, bar, float64(now.Done)/float64(now.Total), theme.Info, theme.Muted, c.G)
			x += bar + 2
		}
		r.PutCut(x+2, y, r.W-x-2, theme.Text, progress(now), c.G.Ellipsis)
	case s.Says != "" && s.State != restore.Failed:
		r.PutCut(x+2, y, r.W-x-2, theme.Muted, s.Says, c.G.Ellipsis)
	}
	return y + 1
}

// progress is how far a step is, how fast, and how long it will take.
func progress(p *backup.Progress) string {
	text := widget.Bytes(p.Done)
	if p.Total > 0 {
		text += " of " + widget.Bytes(p.Total)
	}
	text += ", " + widget.Bytes(int64(p.Rate())) + "/s"
	if eta := p.ETA(); eta > 0 {
		text += ", " + widget.Age(eta) + " left"
	}
	return text
}
