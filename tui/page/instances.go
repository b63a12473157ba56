package page

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// instanceKind is how instances are listed. They come by release and id.
func instanceKind() kindOf[rollout.Instance] {
	return kindOf[rollout.Instance]{
		title: "instances", noun: "instance",
		orders: []order[rollout.Instance]{
			{"trouble first", func(a, b *rollout.Instance) int { return trouble(a.State) - trouble(b.State) }},
			{"release", byText(func(i *rollout.Instance) string { return i.Release })},
			{"cpu", func(a, b *rollout.Instance) int { return cmp.Compare(b.CPU, a.CPU) }},
			{"memory", func(a, b *rollout.Instance) int { return cmp.Compare(b.RSS, a.RSS) }},
			{"restarts", func(a, b *rollout.Instance) int { return cmp.Compare(b.Restarts, a.Restarts) }},
			{"errors", func(a, b *rollout.Instance) int { return cmp.Compare(b.ErrorRate, a.ErrorRate) }},
			{"p95", func(a, b *rollout.Instance) int { return cmp.Compare(b.P95, a.P95) }},
		},
		id:      func(i *rollout.Instance) string { return i.ID },
		texts:   func(i *rollout.Instance) []string { return []string{i.ID, i.Release, string(i.State), i.Reason} },
		columns: columns, cell: value,
	}
}

// Instances lists every instance.
type Instances struct{ roster[rollout.Instance] }

// NewInstances makes the page.
func NewInstances() *Instances { return &Instances{roster[rollout.Instance]{kind: instanceKind()}} }

func (p *Instances) arrange(c Context) { p.roster.arrange(c.Snap.InstancesVersion, c.Snap.Instances) }

// Selection is the instance under the cursor.
func (p *Instances) Selection(c Context) action.Selection {
	p.arrange(c)
	if i := p.current(); i != nil {
		return action.Selection{Instance: i.ID, Release: i.Release}
	}
	return action.Selection{}
}

// Key moves the cursor, sorts, opens and closes the detail.
func (p *Instances) Key(key string, c Context) bool {
	p.arrange(c)
	return p.key(key)
}

// Draw draws the list, with the selected instance beside it where there is room.
func (p *Instances) Draw(r widget.Region, c Context) {
	p.arrange(c)
	panel := widget.Panel{Foot: "s sorts " + c.G.Dot + " enter opens " + c.G.Dot + " l logs"}
	p.panes(r, c, r.W*2/3, panel, nothingRuns, func(r widget.Region, focus bool) { drawInstance(r, c, p.current(), focus) })
}

const nothingRuns = "nothing runs"

// plain draws the rows alone, without a cursor.
func (p *Instances) plain(r widget.Region, c Context) {
	p.arrange(c)
	p.table(r, c, false, nothingRuns)
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

// value is one cell of an instance's row.
func value(i *rollout.Instance, column string, c Context) (theme.Role, string) {
	switch column {
	case "INSTANCE":
		return theme.Text, i.ID
	case "STATE":
		s := instanceSign(i.State, c.G)
		return s.role, s.String()
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
	y := drawFacts(inner, 0, []fact{
		{"release", i.Release, theme.Text}, {"state", fmt.Sprintf("%s for %s", i.State, since(i.Since, c.Now)), s.role}, {"reason", i.Reason, theme.Warn},
		{"process", process(i, c), theme.Text},
		{"restarts", fmt.Sprintf("%d, of which %d in a row before it was ever ready", i.Restarts, i.StartFailures), restartRole(i.Restarts)},
		{"cpu", cores(i.CPU), theme.Text}, {"memory", widget.Bytes(i.RSS), theme.Text},
		{"traffic", fmt.Sprintf("%s req/s, %s errors, p95 %s, %d in flight", widget.Short(i.RequestRate), widget.Percent(i.ErrorRate), widget.Millis(i.P95), i.InFlight), errorRole(i.ErrorRate)},
	})
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
