package tui

import (
	"context"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/theme"
)

// switchWithin is how long another target may take to answer.
const switchWithin = 20 * time.Second

// elsewhere is a port from which others can be reached.
type elsewhere interface {
	Targets(ctx context.Context) (console.Targets, error)
	Switch(ctx context.Context, to console.TargetRef) (console.Port, error)
}

// askTargets asks where else this console could look. The question goes to the cluster, and the screen does not wait for it.
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
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, answerWithin)
		defer cancel()
		t, err := c.Targets(ctx)
		return targetsMsg{t, err}
	}
}

// pickTarget shows where the console could go: the services of the namespace, its other namespaces, other contexts.
func (m *model) pickTarget(msg targetsMsg) {
	if msg.err != nil {
		m.say(theme.Bad, "where else to look: "+first(msg.err))
		return
	}
	if m.dialog != nil {
		return // the person has turned to something else meanwhile
	}
	refs, items := places(msg.targets)
	lead := "Read-only there, whatever it is here. What is being done here goes on."
	if msg.targets.Hidden != "" {
		lead += " " + msg.targets.Hidden
	}
	c := dialog.NewChoice("go where?", lead, true, items)
	m.open(c, func() tea.Cmd {
		ref := refs[c.Index()]
		m.shut()
		return m.goTo(ref)
	})
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
		add(console.TargetRef{Namespace: n}, "namespace "+n, "of "+t.Context, n == t.Namespace)
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
		m.say(theme.Warn, "a rollout is under way that this console may be carrying out: leave with q, which waits for it")
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

// busy reports whether a rollout might need this very console to go on.
func (m *model) busy() bool {
	a := m.snap.Active()
	return a != nil && !a.Paused
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

// onTo are the options for a console on another target: as they were, and read-only.
func (o Options) onTo(port console.Port) Options {
	o.Port, o.ReadOnly = port, true
	if named, ok := port.(interface {
		Where() string
		Who() string
	}); ok {
		o.Target, o.User = named.Where(), named.Who()
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
