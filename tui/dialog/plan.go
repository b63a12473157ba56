package dialog

import (
	"fmt"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Plan shows what a command would do, and runs it only after the service's name was typed, and what is lost where data
// dies. The plan's hash goes with the command, so that what runs is what was read.
type Plan struct {
	Title  string
	Same   string // the command line that does the same
	Only   bool   // only to be looked at: there is nothing to confirm
	plan   *console.Plan
	notice string // why it was made anew
	busy   string // what is being waited for
	sent   bool   // the command is on its way

	confirm, loss, reason Field
	at                    *Field // the one that takes the keys
	scroll                int
	rows, room            int
}

// NewPlan makes the dialog while its plan is still being asked for.
func NewPlan(title, same string, only bool) *Plan {
	p := &Plan{Title: title, Same: same, Only: only, busy: "asking what would happen", confirm: NewField(120), loss: NewField(40), reason: NewField(400)}
	p.at = &p.confirm
	return p
}

// Show takes the plan in; the notice says why it is another than before. What was typed for another plan is forgotten.
func (p *Plan) Show(plan console.Plan, notice string) {
	p.plan, p.notice, p.busy, p.sent = &plan, notice, "", false
	p.confirm.SetValue("")
	p.loss.SetValue("")
	p.at, p.scroll = &p.confirm, 0
}

// Running says that the command is on its way: keys do nothing until it is answered.
func (p *Plan) Running() { p.busy, p.sent = "sent, waiting for the answer", true }

// Replan says that the plan is being made again.
func (p *Plan) Replan() { p.busy = "the plan is out of date: asking again" }

// Current is the plan that is shown, or nil.
func (p *Plan) Current() *console.Plan { return p.plan }

// Reason is what was typed as the reason.
func (p *Plan) Reason() string { return strings.TrimSpace(p.reason.Value()) }

// Must is what has to be typed: the environment and the service.
func (p *Plan) Must() string {
	if p.plan == nil {
		return ""
	}
	if p.plan.Env == "" {
		return p.plan.Service
	}
	return p.plan.Env + "/" + p.plan.Service
}

// MustLose is what has to be typed beside it; empty where nothing is lost.
func (p *Plan) MustLose() string {
	if p.plan == nil || p.plan.Lose == 0 {
		return ""
	}
	return "lose " + p.plan.Lose.String()
}

// Guarded is true.
func (p *Plan) Guarded() bool { return true }

func (p *Plan) armed() bool {
	return p.plan != nil && p.busy == "" && !p.Only && p.confirm.Value() == p.Must() && p.loss.Value() == p.MustLose()
}

// next is the field behind the present one, in the order in which they are drawn.
func (p *Plan) next() *Field {
	switch {
	case p.at == &p.confirm && p.MustLose() != "":
		return &p.loss
	case p.at == &p.reason:
		return &p.confirm
	}
	return &p.reason
}

// Update scrolls, edits, and accepts when armed.
func (p *Plan) Update(msg tea.Msg) Outcome {
	switch key(msg) {
	case "esc":
		return Canceled
	case "enter":
		if p.armed() {
			return Accepted
		}
		if p.Only {
			return Canceled
		}
		if p.at == &p.confirm && p.confirm.Value() == p.Must() {
			p.at = p.next()
		}
		return Open
	case "tab", "shift+tab":
		p.at = p.next()
		return Open
	case "down", "pgdown":
		p.scroll = min(p.scroll+1, max(p.rows-p.room, 0))
		return Open
	case "up", "pgup":
		p.scroll = max(p.scroll-1, 0)
		return Open
	}
	if !p.Only && p.busy == "" {
		p.at.Update(msg)
	}
	return Open
}

// line is a row of the plan's text.
type line struct {
	head string
	role theme.Role
	text string
}

// lines are what the plan says, wrapped to w columns.
func (p *Plan) lines(w int, g theme.Glyphs) []line {
	var out []line
	add := func(head string, role theme.Role, text string) {
		for i, l := range widget.Wrap(text, w-10) {
			if i > 0 {
				head = ""
			}
			out = append(out, line{head, role, l})
		}
	}
	pl := p.plan
	if p.notice != "" {
		add(g.Warn, theme.Warn, p.notice)
	}
	add("what", theme.Strong, pl.Summary)
	for _, warning := range pl.Warnings {
		add(g.Warn, theme.Warn, warning)
	}
	for i, s := range pl.Steps {
		text := s.Do
		if s.Duration > 0 {
			text += fmt.Sprintf("  %s %s", g.Dot, s.Duration)
		}
		if s.Touches != "" {
			text += fmt.Sprintf("  %s touches %s", g.Dot, s.Touches)
		}
		head := ""
		if i == 0 {
			head = "steps"
		}
		add(head, theme.Text, strconv.Itoa(i+1)+" "+text)
	}
	for i, ch := range pl.Changes {
		head := ""
		if i == 0 {
			head = "changes"
		}
		add(head, theme.Info, fmt.Sprintf("%s: %s %s %s", ch.Field, quoted(ch.From), g.Arrow, quoted(ch.To)))
	}
	if pl.Duration > 0 {
		add("lasts", theme.Text, "about "+pl.Duration.String())
	}
	add("undo", theme.Text, pl.Undo)
	add("plan", theme.Muted, pl.Hash+"  the command is refused if anything changes before it is confirmed")
	return out
}

func quoted(v string) string {
	if v == "" {
		return "nothing"
	}
	return v
}

// Draw draws the box.
func (p *Plan) Draw(screen widget.Region, g theme.Glyphs) {
	w := min(screen.W-2, 100)
	panel := widget.Panel{Title: p.Title}
	if p.plan == nil {
		r := box(screen, w, 5, panel, g)
		r.Put(0, 0, theme.Muted, p.busy+g.Ellipsis)
		r.Put(0, r.H-1, theme.Muted, "esc leaves")
		return
	}
	panel.State, panel.Role = strings.ToUpper(p.plan.Env)+" "+p.plan.Service, theme.Warn
	lines := p.lines(w-4, g)
	below := 6
	if p.MustLose() != "" {
		below = 8
	}
	if p.Only {
		below = 3
	}
	r := box(screen, w, len(lines)+below+2, panel, g)
	body := r.Sub(0, 0, r.W, r.H-below)
	p.rows, p.room = len(lines), max(body.H, 1)
	p.scroll = min(p.scroll, max(p.rows-p.room, 0))
	for y := 0; y < body.H && p.scroll+y < len(lines); y++ {
		l := lines[p.scroll+y]
		body.Put(0, y, theme.Muted, l.head)
		body.Put(9, y, l.role, l.text)
	}
	if p.rows > p.room {
		body.PutRight(body.W, body.H-1, theme.Muted, fmt.Sprintf(" %d more %s", p.rows-p.room-p.scroll, g.Down))
	}
	p.foot(r.Sub(0, r.H-below, r.W, below), g)
}

func (p *Plan) foot(r widget.Region, g theme.Glyphs) {
	r.Put(0, 0, theme.Muted, "same as")
	r.PutCut(9, 0, r.W-9, theme.Info, p.Same, g.Ellipsis)
	if p.Only {
		r.Put(0, r.H-1, theme.Muted, "nothing was changed  "+g.Dot+"  y copies the command  "+g.Dot+"  esc closes")
		return
	}
	r.Put(0, 1, theme.Muted, "reason")
	p.reason.Draw(r, 9, 1, r.W-9, theme.Text, p.at == &p.reason)
	if p.reason.Value() == "" && p.at != &p.reason {
		r.Put(9, 1, theme.Muted, "(optional: tab)")
	}
	x := r.Put(0, 3, theme.Text, "type ")
	x = r.Put(x, 3, theme.Strong, p.Must())
	r.Put(x, 3, theme.Text, " to arm it")
	r.Put(0, 4, theme.Accent, ">")
	p.confirm.Draw(r, 2, 4, r.W-2, theme.Strong, p.at == &p.confirm)
	last := 5
	if must := p.MustLose(); must != "" {
		x := r.Put(0, 5, theme.Text, "and then the loss: ")
		r.Put(x, 5, theme.Strong, must)
		r.Put(0, 6, theme.Accent, ">")
		p.loss.Draw(r, 2, 6, r.W-2, theme.Strong, p.at == &p.loss)
		last = 7
	}
	state, role := "not armed: nothing happens", theme.Muted
	switch {
	case p.busy != "":
		state, role = p.busy+g.Ellipsis, theme.Warn
	case p.armed():
		state, role = g.OK+" armed: enter runs it", theme.Bad
	}
	r.PutRight(r.W, 3, role, state)
	if p.sent {
		r.Put(0, last, theme.Muted, "esc closes this box; the command is on its way and is not called back")
		return
	}
	r.Put(0, last, theme.Muted, "enter runs it once armed  "+g.Dot+"  tab next field  "+g.Dot+"  esc: nothing happens")
}
