package page

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// Cluster is what the cluster has to say around a service's pods: events, nodes, autoscalers, and what the API server warned of.
type Cluster struct {
	panes
	events, nodes widget.List
	filter        string
	height        int

	rows []*console.ClusterEvent
	made made
}

// The panels of the page, in the order of tab.
const (
	eventsPanel = iota
	nodesPanel
	scalersPanel
	clusterPanels
)

// NewCluster makes the page.
func NewCluster() *Cluster { return &Cluster{panes: panes{count: clusterPanels}} }

// Filter shows only events in which the text occurs.
func (p *Cluster) Filter(text string) { p.filter = strings.ToLower(text) }

// Selection is the pod that the event under the cursor is about.
func (p *Cluster) Selection(c Context) action.Selection {
	p.arrange(c)
	if p.focus != eventsPanel || len(p.rows) == 0 {
		return action.Selection{}
	}
	e := p.rows[min(max(p.events.Cursor, 0), len(p.rows)-1)]
	if name, ok := strings.CutPrefix(e.Object, "Pod/"); ok {
		return action.Selection{Instance: name}
	}
	return action.Selection{}
}

// Key moves in the panel that has the keys.
func (p *Cluster) Key(key string, c Context) bool {
	p.arrange(c)
	if p.key(key) {
		return true
	}
	switch p.focus {
	case eventsPanel:
		return p.events.Key(key, len(p.rows), p.height)
	case nodesPanel:
		return c.Snap.Cluster != nil && p.nodes.Key(key, len(c.Snap.Cluster.Nodes), p.height)
	}
	return false
}

// arrange filters the events when there is something new.
func (p *Cluster) arrange(c Context) {
	want := made{c.Snap.ClusterVersion, p.filter, 0}
	if p.rows != nil && want == p.made {
		return
	}
	p.made = want
	p.rows = p.rows[:0]
	if c.Snap.Cluster == nil {
		return
	}
	for _, e := range c.Snap.Cluster.Events {
		if p.filter == "" || holds(e.Object, p.filter) || holds(e.Reason, p.filter) || holds(e.Message, p.filter) {
			p.rows = append(p.rows, e)
		}
	}
}

// Draw draws the panels that there is room for; the one that has the keys always is.
func (p *Cluster) Draw(r widget.Region, c Context) {
	p.arrange(c)
	if c.Snap.Cluster == nil {
		hint(r, or(c.Snap.ClusterProblem, "asking the cluster"))
		return
	}
	draw := []func(widget.Region, Context){p.drawEvents, p.drawNodes, p.drawScalers}
	if p.zoomed || Small(r) {
		draw[p.focus](r, c)
		return
	}
	if Wide(r) {
		left := r.Sub(0, 0, r.W*3/5, r.H)
		right := stack(r.Sub(left.W, 0, r.W-left.W, r.H), r.H/2, r.H-r.H/2)
		draw[0](left, c)
		draw[1](right[0], c)
		draw[2](right[1], c)
		return
	}
	below := min(max(len(c.Snap.Cluster.Nodes)+3, 4), r.H/4)
	scalers := min(3+2*max(len(c.Snap.Cluster.Scalers), 1), r.H/4)
	for i, part := range stack(r, r.H-below-scalers, below, scalers) {
		draw[i](part, c)
	}
}

func (p *Cluster) drawEvents(r widget.Region, c Context) {
	state := strconv.Itoa(len(p.rows))
	if p.filter != "" {
		state = fmt.Sprintf("%d of %d", len(p.rows), len(c.Snap.Cluster.Events))
	}
	in := widget.Panel{Title: "events", State: state, Role: theme.Muted, Note: "newest first", Foot: "/ filters " + c.G.Dot + " l log of its pod", Focus: p.focus == eventsPanel}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	in = p.drawWhole(in, c)
	p.height = max(in.H-1, 1)
	from, to := p.events.Fit(len(p.rows), p.height)
	slots := widget.Layout(eventColumns(p.rows[from:to]), in.W)
	widget.Heads(in, 0, slots, c.G)
	if len(p.rows) == 0 {
		hint(in, p.lacking(c, "no event is kept", true))
	}
	for i := from; i < to; i++ {
		e, chosen := p.rows[i], i == p.events.Cursor && p.focus == eventsPanel
		cells := map[string]string{"": "", "AGE": since(e.At, c.Now), "N": strconv.Itoa(e.Count), "REASON": e.Reason, "OBJECT": e.Object, "MESSAGE": e.Message}
		if chosen {
			cells[""] = c.G.Select
		}
		for _, s := range slots {
			s.Cell(in, 1+i-from, eventRole(e), cells[s.Title], c.G)
		}
		if chosen {
			in.Choose(1 + i - from)
		}
	}
}

// eventColumns are as wide as what is on the screen needs: what an event is about is worth more than the end of its message.
func eventColumns(rows []*console.ClusterEvent) []widget.Column {
	reason, object := 6, 6
	for _, e := range rows {
		reason, object = max(reason, widget.Width(e.Reason)), max(object, widget.Width(e.Object))
	}
	return []widget.Column{
		{Title: "", Width: 1}, {Title: "AGE", Width: 5, Right: true}, {Title: "N", Width: 4, Right: true, Rank: 3}, {Title: "REASON", Width: min(reason, 24), Rank: 1},
		{Title: "OBJECT", Width: min(object, 48), Rank: 2}, {Title: "MESSAGE", Width: 14, Grow: true},
	}
}

// drawWhole draws all of the event under the cursor at the lower edge, and returns the room that is left above it.
func (p *Cluster) drawWhole(in widget.Region, c Context) widget.Region {
	wholeLines := 2
	if in.H >= 14 {
		wholeLines = 3
	}
	if len(p.rows) == 0 || p.focus != eventsPanel || in.H < 6 {
		return in
	}
	p.events.Cursor = min(max(p.events.Cursor, 0), len(p.rows)-1)
	e := p.rows[p.events.Cursor]
	rest := in.Sub(0, 0, in.W, in.H-wholeLines-1)
	in.Fill(0, rest.H, in.W, theme.Border, c.G.Horizontal)
	lines := widget.Wrap(fmt.Sprintf("%s %s: %s", e.Object, e.Reason, e.Message), in.W)
	for i, l := range lines[:min(len(lines), wholeLines)] {
		if i == wholeLines-1 && len(lines) > wholeLines {
			l = widget.Cut(l+c.G.Ellipsis+c.G.Ellipsis, min(in.W, widget.Width(l)+1), c.G.Ellipsis)
		}
		in.Put(0, rest.H+1+i, eventRole(e), l)
	}
	return rest
}

// lacking says why something is not there.
func (p *Cluster) lacking(c Context, otherwise string, filtered bool) string {
	switch {
	case c.Snap.Cluster.Partial:
		return "asking the cluster"
	case filtered && p.filter != "" && len(c.Snap.Cluster.Events) > 0:
		return "no event has " + strconv.Quote(p.filter) + " in it " + c.G.Dot + " esc shows all"
	}
	return otherwise
}

func (p *Cluster) drawNodes(r widget.Region, c Context) {
	nodes := c.Snap.Cluster.Nodes
	in := widget.Panel{Title: "nodes", State: strconv.Itoa(len(nodes)), Role: theme.Muted, Note: "with pods of the service", Focus: p.focus == nodesPanel}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	if len(nodes) == 0 {
		hint(in, p.lacking(c, "none is known", false))
		return
	}
	height := max(in.H-1, 1)
	from, to := p.nodes.Fit(len(nodes), height)
	slots := widget.Layout([]widget.Column{
		{Title: "", Width: 1}, {Title: "NODE", Width: 20, Grow: true}, {Title: "STATE", Width: 12}, {Title: "PODS", Width: 5, Right: true}, {Title: "VERSION", Width: 12, Rank: 2},
		{Title: "PRESSED BY", Width: 16, Rank: 1},
	}, in.W)
	widget.Heads(in, 0, slots, c.G)
	for i := from; i < to; i++ {
		n, chosen := &nodes[i], i == p.nodes.Cursor && p.focus == nodesPanel
		s := nodeSign(n, c)
		cells := map[string]string{"NODE": n.Name, "STATE": s.String(), "PODS": strconv.Itoa(n.Pods), "VERSION": n.Version, "PRESSED BY": strings.Join(n.Conditions, ", ")}
		if chosen {
			cells[""] = c.G.Select
		}
		for _, slot := range slots {
			role := theme.Text
			if slot.Title == "STATE" {
				role = s.role
			}
			slot.Cell(in, 1+i-from, role, cells[slot.Title], c.G)
		}
		if chosen {
			in.Choose(1 + i - from)
		}
	}
}

func nodeSign(n *console.Node, c Context) sign {
	switch {
	case !n.Ready:
		return sign{c.G.Bad, "not ready", theme.Bad}
	case n.Cordoned:
		return sign{c.G.Warn, "cordoned", theme.Warn}
	case len(n.Conditions) > 0:
		return sign{c.G.Warn, "pressed", theme.Warn}
	}
	return sign{c.G.OK, "ready", theme.OK}
}

// drawScalers draws the autoscalers, and below them what the API server warned of.
func (p *Cluster) drawScalers(r widget.Region, c Context) {
	v := c.Snap.Cluster
	in := widget.Panel{Title: "autoscalers", State: strconv.Itoa(len(v.Scalers)), Role: theme.Muted, Note: "traffic by " + or(v.Traffic, "nothing"), Focus: p.focus == scalersPanel}.Draw(r, c.G)
	if in.Empty() {
		return
	}
	y := 0
	for _, s := range v.Scalers {
		role, text := theme.Text, fmt.Sprintf("%d pods, wants %d, of %d to %d", s.Current, s.Desired, s.Min, s.Max)
		if s.Desired == 0 && s.Current > 0 { // it has never been able to tell
			role, text = theme.Warn, fmt.Sprintf("%d pods, cannot tell how many it wants, of %d to %d", s.Current, s.Min, s.Max)
		}
		if s.Desired >= s.Max {
			role, text = theme.Warn, text+", at its limit"
		}
		if len(s.Metrics) > 0 {
			text += ": " + strings.Join(s.Metrics, ", ")
		}
		y = drawFacts(in, y, []fact{{widget.Cut(s.Name, 10, c.G.Ellipsis), text, role}, {"", s.Reason, theme.Bad}})
	}
	if len(v.Scalers) == 0 {
		in.Put(0, y, theme.Muted, "no HorizontalPodAutoscaler scales the service")
		y++
	}
	for _, w := range v.Warnings {
		y = drawFacts(in, y, []fact{{"warning", w, theme.Warn}})
	}
}
