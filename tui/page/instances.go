package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// order is a way to sort instances.
type order struct {
	name string
	less func(a, b *rollout.Instance) int
}

func orders() []order {
	return []order{
		{"trouble first", func(a, b *rollout.Instance) int { return trouble(a.State) - trouble(b.State) }},
		{"release", func(a, b *rollout.Instance) int { return cmp.Compare(a.Release, b.Release) }},
		{"cpu", func(a, b *rollout.Instance) int { return cmp.Compare(b.CPU, a.CPU) }},
		{"memory", func(a, b *rollout.Instance) int { return cmp.Compare(b.RSS, a.RSS) }},
		{"restarts", func(a, b *rollout.Instance) int { return cmp.Compare(b.Restarts, a.Restarts) }},
		{"errors", func(a, b *rollout.Instance) int { return cmp.Compare(b.ErrorRate, a.ErrorRate) }},
		{"p95", func(a, b *rollout.Instance) int { return cmp.Compare(b.P95, a.P95) }},
	}
}

// Instances lists every instance; only the rows on the screen are ever drawn.
type Instances struct {
	list   widget.List
	height int // rows on the screen when it was last drawn
	filter string
	order  int
	open   bool // the selected one is shown in full
	zoomed bool
	picked string // id under the cursor, which stays under it when rows move

	rows []*rollout.Instance // filtered and sorted
	made made
}

// made is what rows were made of.
type made struct {
	version uint64
	filter  string
	order   int
}

// NewInstances makes the page.
func NewInstances() *Instances { return &Instances{} }

// Filter shows only instances in which the text occurs.
func (p *Instances) Filter(text string) { p.filter = strings.ToLower(text) }

// arrange makes rows if anything they are made of has changed.
func (p *Instances) arrange(c Context) {
	want := made{c.Snap.InstancesVersion, p.filter, p.order}
	if p.rows != nil && want == p.made {
		return
	}
	p.made = want
	p.rows = make([]*rollout.Instance, 0, len(c.Snap.Instances))
	for _, i := range c.Snap.Instances {
		if p.filter == "" || matches(i, p.filter) {
			p.rows = append(p.rows, i)
		}
	}
	slices.SortStableFunc(p.rows, orders()[p.order].less)
	if at := slices.IndexFunc(p.rows, func(i *rollout.Instance) bool { return i.ID == p.picked }); at >= 0 {
		p.list.Cursor = at
	}
}

func matches(i *rollout.Instance, filter string) bool {
	for _, s := range []string{i.ID, i.Release, string(i.State), i.Reason} {
		if strings.Contains(strings.ToLower(s), filter) {
			return true
		}
	}
	return false
}

func (p *Instances) selected(c Context) *rollout.Instance {
	p.arrange(c)
	if len(p.rows) == 0 {
		return nil
	}
	return p.rows[min(max(p.list.Cursor, 0), len(p.rows)-1)]
}

// Selection is the instance under the cursor.
func (p *Instances) Selection(c Context) action.Selection {
	if i := p.selected(c); i != nil {
		return action.Selection{Instance: i.ID, Release: i.Release}
	}
	return action.Selection{}
}

// Key moves the cursor, sorts, opens and closes the detail.
func (p *Instances) Key(key string, c Context) bool {
	p.arrange(c)
	switch {
	case p.list.Key(key, len(p.rows), p.height):
		if i := p.selected(c); i != nil {
			p.picked = i.ID
		}
	case key == "s":
		p.order = (p.order + 1) % len(orders())
	case key == "enter" && len(p.rows) > 0:
		p.open = true
	case key == "esc" && p.open:
		p.open = false
	case key == "z":
		p.zoomed = !p.zoomed
	default:
		return false
	}
	return true
}

// Draw draws the list, with the selected instance beside it where there is room.
func (p *Instances) Draw(r widget.Region, c Context) {
	if Small(r) {
		p.table(r, c, true)
		return
	}
	if p.open && !Wide(r) {
		drawInstance(r, c, p.selected(c), true)
		return
	}
	left := r
	if Wide(r) && !p.zoomed {
		left = r.Sub(0, 0, r.W*2/3, r.H)
		defer drawInstance(r.Sub(left.W, 0, r.W-left.W, r.H), c, p.selected(c), p.open)
	}
	p.arrange(c)
	foot := "s sorts " + c.G.Dot + " enter opens " + c.G.Dot + " l logs"
	inner := widget.Panel{Title: "instances", State: p.counted(c), Role: theme.Muted, Note: "by " + orders()[p.order].name, Foot: foot, Focus: true}.Draw(left, c.G)
	p.table(inner, c, true)
}

func (p *Instances) counted(c Context) string {
	if p.filter == "" {
		return strconv.Itoa(len(p.rows))
	}
	return fmt.Sprintf("%d of %d", len(p.rows), len(c.Snap.Instances))
}

// table draws the heads and the rows in the window.
func (p *Instances) table(r widget.Region, c Context, cursor bool) {
	p.arrange(c)
	head := 1
	if r.H < 4 {
		head = 0
	}
	p.height = max(r.H-head, 1)
	from, to := p.list.Fit(len(p.rows), p.height)
	slots := widget.Layout(columns(p.rows[from:to]), r.W)
	if head == 1 {
		widget.Heads(r, 0, slots, c.G)
	}
	if len(p.rows) == 0 {
		hint(r, p.none(c))
	}
	for i := from; i < to; i++ {
		chosen := cursor && i == p.list.Cursor
		row(r, head+i-from, c, slots, p.rows[i], chosen)
	}
}

func (p *Instances) none(c Context) string {
	if len(c.Snap.Instances) == 0 {
		return "nothing runs"
	}
	return "no instance has " + strconv.Quote(p.filter) + " in it " + c.G.Dot + " esc shows all"
}

// columns are the table's, as wide as the rows on the screen need.
func columns(rows []*rollout.Instance) []widget.Column {
	id, release := 8, 7
	for _, i := range rows {
		id, release = max(id, widget.Width(i.ID)), max(release, widget.Width(i.Release))
	}
	return []widget.Column{
		{Title: "", Width: 1}, {Title: "INSTANCE", Width: min(id, 26)}, {Title: "STATE", Width: 10}, {Title: "RELEASE", Width: min(release, 16), Rank: 1},
		{Title: "PID", Width: 7, Right: true, Rank: 8}, {Title: "PORT", Width: 5, Right: true, Rank: 9}, {Title: "RST", Width: 3, Right: true, Rank: 2},
		{Title: "CPU", Width: 4, Right: true, Rank: 5}, {Title: "RSS", Width: 5, Right: true, Rank: 6}, {Title: "REQ/S", Width: 5, Right: true, Rank: 4},
		{Title: "ERR", Width: 6, Right: true, Rank: 3}, {Title: "P95", Width: 6, Right: true, Rank: 4}, {Title: "FLIGHT", Width: 6, Right: true, Rank: 9},
		{Title: "AGE", Width: 6, Right: true, Rank: 7}, {Title: "REASON", Width: 12, Rank: 3, Grow: true},
	}
}

func row(r widget.Region, y int, c Context, slots []widget.Slot, i *rollout.Instance, chosen bool) {
	s := instanceSign(i.State, c.G)
	for _, slot := range slots {
		role, text := theme.Text, ""
		switch slot.Title {
		case "":
			if chosen {
				role, text = theme.Accent, c.G.Select
			}
		case "STATE":
			role, text = s.role, s.String()
		default:
			role, text = value(i, slot.Title, c)
		}
		slot.Cell(r, y, role, text, c.G)
	}
	if chosen {
		r.Choose(y)
	}
}

// value is one cell of an instance's row.
func value(i *rollout.Instance, column string, c Context) (theme.Role, string) {
	switch column {
	case "INSTANCE":
		return theme.Text, i.ID
	case "RELEASE":
		if c.Snap.Status != nil && i.Release == c.Snap.Status.Stable {
			return theme.Stable, i.Release
		}
		return theme.Candidate, i.Release
	case "PID":
		return theme.Text, number(i.PID)
	case "PORT":
		return theme.Text, number(i.Port)
	case "RST":
		return restartRole(i.Restarts), strconv.Itoa(i.Restarts)
	case "CPU":
		return theme.Text, widget.Short(i.CPU)
	case "RSS":
		return theme.Text, widget.Bytes(i.RSS)
	case "REQ/S":
		return theme.Text, widget.Short(i.RequestRate)
	case "ERR":
		return errorRole(i.ErrorRate), widget.Percent(i.ErrorRate)
	case "P95":
		return theme.Text, widget.Millis(i.P95)
	case "FLIGHT":
		return theme.Text, strconv.Itoa(i.InFlight)
	case "AGE":
		return theme.Muted, since(i.StartedAt, c.Now)
	case "REASON":
		return theme.Warn, i.Reason
	}
	return theme.Text, ""
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func since(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return widget.Age(now.Sub(at))
}

// drawInstance draws all there is to know of one instance.
func drawInstance(r widget.Region, c Context, i *rollout.Instance, focus bool) {
	if i == nil {
		hint(widget.Panel{Title: "instance"}.Draw(r, c.G), "no instance is selected")
		return
	}
	s := instanceSign(i.State, c.G)
	inner := widget.Panel{Title: "instance " + i.ID, State: s.String(), Role: s.role, Focus: focus, Foot: "l follows its log " + c.G.Dot + " esc back"}.Draw(r, c.G)
	facts := []struct {
		name, text string
		role       theme.Role
	}{
		{"release", i.Release, theme.Text}, {"state", fmt.Sprintf("%s for %s", i.State, since(i.Since, c.Now)), s.role}, {"reason", i.Reason, theme.Warn},
		{"process", process(i, c), theme.Text},
		{"restarts", fmt.Sprintf("%d, of which %d in a row before it was ever ready", i.Restarts, i.StartFailures), restartRole(i.Restarts)},
		{"cpu", cores(i.CPU), theme.Text}, {"memory", widget.Bytes(i.RSS), theme.Text},
		{"traffic", fmt.Sprintf("%s req/s, %s errors, p95 %s, %d in flight", widget.Short(i.RequestRate), widget.Percent(i.ErrorRate), widget.Millis(i.P95), i.InFlight), errorRole(i.ErrorRate)},
	}
	y := 0
	for _, f := range facts {
		if f.text == "" {
			continue
		}
		inner.Put(0, y, theme.Muted, f.name)
		for _, l := range widget.Wrap(f.text, inner.W-10) {
			inner.Put(10, y, f.role, l)
			y++
		}
	}
	drawLastLog(inner, y+1, c, i)
}

func process(i *rollout.Instance, c Context) string {
	if i.StartedAt.IsZero() {
		return fmt.Sprintf("port %s, not running", number(i.Port))
	}
	return fmt.Sprintf("pid %s, port %s, started %s ago", number(i.PID), number(i.Port), since(i.StartedAt, c.Now))
}

func drawLastLog(r widget.Region, y int, c Context, i *rollout.Instance) {
	if r.H-y < 2 {
		return
	}
	r.Put(0, y, theme.Muted, "last log lines")
	lines := i.LastLog
	if len(lines) == 0 {
		r.Put(0, y+1, theme.Muted, "it has written nothing")
	}
	lines = lines[max(len(lines)-(r.H-y-1), 0):]
	for n, l := range lines {
		r.PutCut(0, y+1+n, r.W, theme.Text, l, c.G.Ellipsis)
	}
}
