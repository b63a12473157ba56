package tui

import (
	"cmp"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/theme"
)

// binding is a key that does nothing to the service.
type binding struct{ key, text string }

// bindings lists the console's own keys, in the order in which help shows them.
func bindings() []binding {
	return []binding{
		{":", "find any page or action by some of its letters"}, {"/", "show only rows that contain a text; esc shows all"},
		{"enter", "open what is selected"}, {"esc [", "back to the page before"}, {"]", "forward again"}, {"-", "to and fro between two pages"},
		{"jk gG", "move; ctrl+d, ctrl+u, page keys and arrows too"}, {"tab", "next panel"}, {"z", "one panel fills the page"},
		{"s", "sort the instances by something else"}, {"x", "menu of all that can be done"}, {"w", "write mode on or off"},
		{"y", "copy the covetctl command that shows the same"}, {"r", "connect again at once"}, {"?", "this help"},
		{"q", "leave; nothing that runs is stopped"},
	}
}

func (m *model) help() dialog.Dialog {
	n := &dialog.Notice{Title: "help"}
	head := func(text string) { n.Rows = append(n.Rows, dialog.Row{Text: text, Role: theme.Title}) }
	head("Pages and actions")
	state := m.state()
	for _, a := range action.All() {
		row := dialog.Row{Key: a.Key, Text: a.Title, Note: a.Line(state)}
		if ok, why := a.Enabled(state); !ok {
			row.Role, row.Note = theme.Muted, m.g.Bad+" "+why
		}
		n.Rows = append(n.Rows, row)
	}
	n.Rows = append(n.Rows, dialog.Row{})
	head("Keys")
	for _, b := range bindings() {
		n.Rows = append(n.Rows, dialog.Row{Key: b.key, Text: b.text})
	}
	return n
}

// items are actions to choose from, with the reason where one cannot be done.
func (m *model) items(actions []action.Action) []dialog.Item {
	state := m.state()
	items := make([]dialog.Item, 0, len(actions))
	for _, a := range actions {
		_, why := a.Enabled(state)
		items = append(items, dialog.Item{Key: a.Key, Label: a.Title, Note: a.Line(state), Why: why})
	}
	return items
}

func (m *model) palette() {
	actions := action.All()
	items := m.items(actions)
	extra := []struct {
		item dialog.Item
		do   func() tea.Cmd
	}{
		{dialog.Item{Key: "w", Label: "Write mode on or off"}, func() tea.Cmd { m.toggleWrite(); return nil }},
		{dialog.Item{Key: "?", Label: "Help"}, func() tea.Cmd { m.open(m.help(), nil); return nil }},
		{dialog.Item{Key: "q", Label: "Quit"}, func() tea.Cmd { return tea.Quit }},
	}
	for _, e := range extra {
		items = append(items, e.item)
	}
	c := dialog.NewChoice("command", "", true, items)
	m.open(c, func() tea.Cmd {
		i := c.Index()
		m.shut()
		if i < len(actions) {
			return m.begin(actions[i])
		}
		return extra[i-len(actions)].do()
	})
}

// menu offers everything that changes something, with the reason where it cannot be done.
func (m *model) menu() {
	var actions []action.Action
	for _, a := range action.All() {
		if a.Kind != action.Look {
			actions = append(actions, a)
		}
	}
	c := dialog.NewChoice("actions", "", false, m.items(actions))
	c.Keys = true
	m.open(c, func() tea.Cmd {
		i := c.Index()
		m.shut()
		return m.begin(actions[i])
	})
}

// toggleWrite asks before anything can be changed; back to read-only it goes at once.
func (m *model) toggleWrite() {
	if m.write() {
		m.writeUntil = time.Time{}
		m.say(theme.OK, "read-only")
		return
	}
	unknown := m.snap.Status == nil
	if unknown && !m.apart() {
		m.say(theme.Warn, "nothing is known of the service yet: there is nothing to change")
		return
	}
	p := dialog.Prompt{
		Title: "write mode", Do: "turns it on",
		Lines: []string{fmt.Sprintf("For %s this console may change %s. Everything that destroys still shows its plan first and asks for the service's name.", short(m.o.WriteFor), cmp.Or(m.service(), "the database"))},
	}
	switch {
	case unknown: // it may be production
		p.Lines = append(p.Lines, "covetd does not answer: which environment this is will be said by the plan.")
		p.Must, p.Label = "write", "word"
	case production(m.snap.Status):
		p.Must, p.Label = m.snap.Status.Environment, "environment"
	}
	m.open(dialog.NewPrompt(p), func() tea.Cmd {
		m.shut()
		m.writeUntil = m.o.Now().Add(m.o.WriteFor)
		m.say(theme.Warn, "write mode is on")
		return nil
	})
}
