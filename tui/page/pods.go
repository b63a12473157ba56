package page

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// podKind is how pods are listed. They come by name.
func podKind() kindOf[console.Pod] {
	return kindOf[console.Pod]{
		title: "pods", noun: "pod",
		orders: []order[console.Pod]{
			{"trouble first", func(a, b *console.Pod) int { return podTrouble(a) - podTrouble(b) }},
			{"name", nil},
			{"release", byText(func(p *console.Pod) string { return p.Release })},
			{"restarts", func(a, b *console.Pod) int { return cmp.Compare(b.Restarts, a.Restarts) }},
			{"node", byText(func(p *console.Pod) string { return p.Node })},
			{"newest", func(a, b *console.Pod) int { return b.CreatedAt.Compare(a.CreatedAt) }},
		},
		id:      func(p *console.Pod) string { return p.Name },
		texts:   func(p *console.Pod) []string { return []string{p.Name, p.Release, p.Phase, p.Reason, p.Node, p.IP} },
		columns: podColumns, cell: podCell,
	}
}

// podTrouble orders pods, worst first.
func podTrouble(p *console.Pod) int {
	switch {
	case podReady(p):
		return 4
	case p.Phase == "Terminating":
		return 3
	case p.Phase == "Running":
		return 1
	case p.Phase == "Pending", p.Phase == "ContainerCreating":
		return 2
	}
	return 0
}

func podReady(p *console.Pod) bool {
	return p.Phase == "Running" && p.Ready == len(p.Containers) && p.Ready > 0
}

func podSign(p *console.Pod, c Context) sign {
	s := sign{c.G.Bad, p.Phase, theme.Bad}
	switch {
	case podReady(p):
		s = sign{c.G.OK, "Running", theme.OK}
	case podTrouble(p) == 3:
		s = sign{c.G.Down, p.Phase, theme.Muted}
	case podTrouble(p) == 2:
		s = sign{c.G.Wait, p.Phase, theme.Info}
	case podTrouble(p) == 1:
		s = sign{c.G.Warn, "not ready", theme.Warn}
	}
	return s
}

// Pods lists the service's pods on Kubernetes.
type Pods struct{ roster[console.Pod] }

// NewPods makes the page.
func NewPods() *Pods { return &Pods{roster[console.Pod]{kind: podKind()}} }

func (p *Pods) arrange(c Context) {
	if v := c.Snap.Cluster; v != nil {
		p.roster.arrange(c.Snap.ClusterVersion, v.Pods)
	}
}

// Selection is the pod under the cursor.
func (p *Pods) Selection(c Context) action.Selection {
	p.arrange(c)
	if pod := p.current(); pod != nil {
		return action.Selection{Instance: pod.Name, Release: pod.Release}
	}
	return action.Selection{}
}

// Key moves the cursor, sorts, opens and closes the detail.
func (p *Pods) Key(key string, c Context) bool {
	p.arrange(c)
	return p.key(key)
}

// Draw draws the list, with the selected pod beside it where there is room.
func (p *Pods) Draw(r widget.Region, c Context) {
	p.arrange(c)
	panel := widget.Panel{Foot: "s sorts " + c.G.Dot + " enter opens " + c.G.Dot + " l log " + c.G.Dot + " L all of the release " + c.G.Dot + " v the life before"}
	if c.Snap.ClusterProblem != "" {
		panel.State, panel.Role = c.G.Warn+" "+c.Snap.ClusterProblem, theme.Warn
	}
	p.panes(r, c, r.W*3/5, panel, p.nothing(c), func(r widget.Region, focus bool) { drawPod(r, c, p.current(), focus) })
}

func (p *Pods) nothing(c Context) string {
	switch {
	case c.Snap.Cluster == nil && c.Snap.ClusterProblem != "":
		return c.Snap.ClusterProblem
	case c.Snap.Cluster == nil:
		return "asking the cluster"
	}
	return "no pod runs"
}

func podColumns(rows []*console.Pod) []widget.Column {
	name, release, state, node, reason := 8, 7, 11, 4, 6 // "! not ready"
	for _, p := range rows {
		reason = max(reason, widget.Width(p.Reason))
		name, release = max(name, widget.Width(p.Name)), max(release, widget.Width(p.Release))
		state, node = max(state, widget.Width(p.Phase)+2), max(node, widget.Width(p.Node))
	}
	return []widget.Column{
		{Title: "", Width: 1}, {Title: "POD", Width: min(name, 40)}, {Title: "STATUS", Width: min(state, 20)}, {Title: "READY", Width: 5, Right: true, Rank: 4},
		{Title: "RELEASE", Width: min(release, 16), Rank: 2}, {Title: "RST", Width: 4, Right: true, Rank: 3}, {Title: "TRAFFIC", Width: 7, Rank: 5},
		{Title: "NODE", Width: min(node, 24), Rank: 6}, {Title: "AGE", Width: 6, Right: true, Rank: 5}, {Title: "REASON", Width: min(reason, 16), Rank: 1, Grow: true},
	}
}

func podCell(p *console.Pod, column string, c Context) (theme.Role, string) {
	switch column {
	case "POD":
		return theme.Text, p.Name
	case "STATUS":
		s := podSign(p, c)
		return s.role, s.String()
	case "READY":
		return theme.Text, fmt.Sprintf("%d/%d", p.Ready, len(p.Containers))
	case "RELEASE":
		if c.Snap.Status != nil && p.Release == c.Snap.Status.Stable {
			return theme.Stable, p.Release
		}
		return theme.Candidate, p.Release
	case "RST":
		return restartRole(p.Restarts), strconv.Itoa(p.Restarts)
	case "TRAFFIC":
		if p.Traffic {
			return theme.OK, "yes"
		}
		return theme.Muted, "no"
	case "NODE":
		return theme.Muted, p.Node
	case "AGE":
		return theme.Muted, since(p.CreatedAt, c.Now)
	case "REASON":
		return theme.Warn, p.Reason
	}
	return theme.Text, ""
}

// drawPod draws all there is to know of one pod.
func drawPod(r widget.Region, c Context, p *console.Pod, focus bool) {
	if p == nil {
		hint(widget.Panel{Title: "pod"}.Draw(r, c.G), "no pod is selected")
		return
	}
	s := podSign(p, c)
	in := widget.Panel{Title: p.Name, State: s.String(), Role: s.role, Focus: focus, Foot: "l follows its log " + c.G.Dot + " v the life before " + c.G.Dot + " esc back"}.Draw(r, c.G)
	traffic := "no EndpointSlice of the service holds it as ready"
	if p.Traffic {
		traffic = "yes, by " + c.Snap.Cluster.Traffic
	}
	facts := []fact{
		{"release", p.Release, theme.Text}, {"workload", p.Workload, theme.Text}, {"reason", p.Reason, theme.Warn}, {"traffic", traffic, theme.Text},
		{"node", p.Node, theme.Text}, {"address", p.IP, theme.Text}, {"age", since(p.CreatedAt, c.Now), theme.Text},
		{"restarts", strconv.Itoa(p.Restarts), restartRole(p.Restarts)},
	}
	for _, k := range p.Containers {
		facts = append(facts, fact{"container", containerWords(k, c), containerRole(k)}, fact{"image", k.Image, theme.Muted}, fact{"runs", k.ImageID, theme.Muted})
	}
	y := drawFacts(in, 0, facts)
	drawPodEvents(in, y+1, c, p)
}

// fact is a line of a detail: a name and a text that may wrap.
type fact struct {
	name, text string
	role       theme.Role
}

// drawFacts draws those that have a text, and returns the row after them.
func drawFacts(r widget.Region, y int, facts []fact) int {
	for _, f := range facts {
		if f.text == "" {
			continue
		}
		r.Put(0, y, theme.Muted, f.name)
		for _, l := range widget.Wrap(f.text, r.W-11) {
			r.Put(11, y, f.role, l)
			y++
		}
	}
	return y
}

func containerWords(k console.Container, c Context) string {
	text := fmt.Sprintf("%s: %s", k.Name, or(k.Reason, k.State))
	if k.Restarts > 0 {
		text += fmt.Sprintf(", %d restarts, last exit %d", k.Restarts, k.ExitCode)
		if !k.EndedAt.IsZero() {
			text += " " + since(k.EndedAt, c.Now) + " ago"
		}
	}
	return text
}

func containerRole(k console.Container) theme.Role {
	if k.Ready {
		return theme.OK
	}
	return theme.Warn
}

// drawPodEvents draws the events about the pod, as many as there is room for.
func drawPodEvents(r widget.Region, y int, c Context, p *console.Pod) {
	if r.H-y < 2 {
		return
	}
	r.Put(0, y, theme.Muted, "events")
	drawn := 0
	for _, e := range c.Snap.Cluster.Events {
		if e.Object != "Pod/"+p.Name || y+1 >= r.H {
			continue
		}
		y++
		drawn++
		r.PutCut(0, y, r.W, eventRole(e), fmt.Sprintf("%s %s %s", since(e.At, c.Now), e.Reason, e.Message), c.G.Ellipsis)
	}
	if drawn == 0 {
		text := "none is kept"
		if c.Snap.Cluster.Partial {
			text = "asking the cluster"
		}
		r.Put(0, y+1, theme.Muted, text)
	}
}

func eventRole(e *console.ClusterEvent) theme.Role {
	if e.Warning {
		return theme.Warn
	}
	return theme.Text
}
