package tui

import (
	"context"
	"io"
	"regexp"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
)

// switchWithin is how long another target may take to answer.
const switchWithin = 20 * time.Second

// elsewhere is a port from which others can be reached.
type elsewhere interface {
	Targets(ctx context.Context) (console.Targets, error)
	Switch(ctx context.Context, to console.TargetRef) (console.Port, error)
}

// nearby is what such a port may know of it without asking anybody.
type nearby interface {
	Nearby() (console.Targets, error)
}

// picking is a choice of where to go, which the cluster's answer may still add to.
type picking struct {
	choice *dialog.Choice
	here   console.Targets
	refs   []console.TargetRef
	full   bool // the cluster has answered, or will not
}

// askTargets asks where else this console could look. What the kubeconfig knows is shown at once; the question goes to the cluster
// meanwhile, and the screen waits for neither.
func (m *model) askTargets() tea.Cmd {
	c, ok := m.o.Port.(elsewhere)
	switch {
	case !ok:
		m.say(theme.Warn, "this console can look at nothing else")
		return nil
	case m.switching:
		m.say(theme.Warn, "another target is being opened")
		return nil
	}
	m.say(theme.Info, "asking where else to look")
	m.picking = &picking{}
	far := func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, answerWithin)
		defer cancel()
		t, err := c.Targets(ctx)
		return targetsMsg{t, err, false}
	}
	n, ok := c.(nearby)
	if !ok {
		return far
	}
	return tea.Batch(far, func() tea.Msg {
		t, err := n.Nearby()
		return targetsMsg{t, err, true}
	})
}

// pickTarget shows where the console could go: the services of the namespace, its other namespaces, other contexts.
func (m *model) pickTarget(msg targetsMsg) {
	p := m.picking
	switch {
	case p == nil || p.full:
		return
	case msg.err != nil && p.choice == nil:
		m.say(theme.Bad, "where else to look: "+first(msg.err))
		return
	case msg.err != nil:
		msg.targets, msg.targets.Hidden = p.here, first(msg.err)
	}
	p.here, p.full = msg.targets, !msg.near
	refs, items := places(msg.targets)
	p.refs = refs
	if p.choice != nil {
		p.choice.Refresh(p.lead(), items)
		return
	}
	if m.dialog != nil {
		return // the person has turned to something else meanwhile
	}
	p.choice = dialog.NewChoice("go where?", p.lead(), true, items)
	p.choice.Free = func(typed string) string {
		if !namespaceName.MatchString(typed) {
			return ""
		}
		return "namespace " + typed + " of " + p.here.Context + ", if there is one"
	}
	m.said = message{}
	m.open(p.choice, func() tea.Cmd {
		ref := console.TargetRef{Namespace: p.choice.Typed()}
		if i := p.choice.Index(); i >= 0 {
			ref = p.refs[i]
		}
		m.shut()
		m.picking = nil
		return m.goTo(ref)
	})
}

// namespaceName is how the names of namespaces look.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (p *picking) lead() string {
	lead := "Read-only there, whatever it is here. What is being done here goes on."
	if !p.full {
		return lead + " The cluster is being asked for its namespaces and services."
	}
	if p.here.Hidden != "" {
		lead += " " + p.here.Hidden
	}
	return lead
}

// places are what can be gone to, as a person reads it; the present one cannot be chosen.
func places(t console.Targets) (refs []console.TargetRef, items []dialog.Item) {
	add := func(ref console.TargetRef, label string, note string, here bool) {
		i := dialog.Item{Label: label, Note: note}
		if here {
			i.Why = "you are here"
		}
		refs, items = append(refs, ref), append(items, i)
	}
	for _, s := range t.Services {
		add(console.TargetRef{Deployment: s}, "service "+s, "in "+t.Namespace, s == t.Service)
	}
	for _, n := range t.Namespaces {
		note := "of " + t.Context
		if productionName(n) || productionName(t.Context) {
			note = "PRODUCTION, " + note
		}
		add(console.TargetRef{Namespace: n}, "namespace "+n, note, n == t.Namespace)
	}
	for _, c := range t.Contexts {
		note := "cluster " + c.Cluster
		if c.Production {
			note = "PRODUCTION, " + note
		}
		add(console.TargetRef{Context: c.Name}, "context "+c.Name, note, c.Name == t.Context)
	}
	return refs, items
}

// goTo opens another target beside this one. From here on nothing can be changed in this one: no plan and no write mode is
// carried over, because the console begins anew when the other answers.
func (m *model) goTo(ref console.TargetRef) tea.Cmd {
	if m.busy() {
		m.say(theme.Warn, "a rollout is under way, which this console may be carrying out: wait for its end, or pause it")
		return nil
	}
	from, ok := m.o.Port.(elsewhere)
	if !ok {
		return nil
	}
	m.switching, m.writeUntil = true, time.Time{}
	m.say(theme.Info, "opening "+place(ref))
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, switchWithin)
		defer cancel()
		port, err := from.Switch(ctx, ref)
		return switchedMsg{port, err}
	}
}

// busy reports whether a rollout might need this very console to go on. One in a cluster that does not answer cannot.
func (m *model) busy() bool {
	a := m.snap.Active()
	return a != nil && !a.Paused && m.snap.Link.State == store.Live
}

func place(ref console.TargetRef) string {
	switch {
	case ref.Context != "":
		return "context " + ref.Context
	case ref.Namespace != "":
		return "namespace " + ref.Namespace
	}
	return "service " + ref.Deployment
}

// switched ends this console for the one on the other target, or goes on with this one.
func (m *model) switched(msg switchedMsg) tea.Cmd {
	m.switching = false
	if msg.err != nil {
		m.say(theme.Bad, "still here: "+first(msg.err))
		return nil
	}
	m.next = msg.port
	return tea.Quit
}

// homely is a port that knows whether it leads to the target with which the console began.
type homely interface {
	AtHome() bool
}

// onTo are the options for a console on another target: as they were, and read-only. The backups and restores of a database belong to
// the target with which the console began: they are there again when it comes back.
func (o Options) onTo(port console.Port) Options {
	if o.Recovery != nil {
		o.recoveryOf = o.named().Target // it may have been found since
	}
	o.Port, o.ReadOnly, o.Recovery = port, true, nil
	if h, ok := port.(homely); ok && h.AtHome() && o.Returned != nil && o.recoveryOf != "" {
		o.Recovery = o.Returned(port)
	}
	return o.named()
}

// named takes from the port how the target and the person are called there, if it knows.
func (o Options) named() Options {
	n, ok := o.Port.(interface {
		Where() string
		Who() string
	})
	if !ok {
		return o
	}
	o.Target = n.Where()
	if who := n.Who(); who != "" {
		o.User = who
	}
	return o
}

// leave closes a target that the console has opened or was given, if it can be closed.
func leave(port console.Port) error {
	if c, ok := port.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
