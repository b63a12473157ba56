package tui

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/page"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
)

// input sends a key where it belongs: to the dialog, the filter, the page, or the console itself.
func (m *model) input(msg tea.Msg) tea.Cmd {
	k, isKey := msg.(tea.KeyPressMsg)
	if isKey && k.String() == "ctrl+c" {
		return tea.Quit
	}
	if m.dialog != nil {
		return m.toDialog(msg)
	}
	if m.filtering {
		m.toFilter(msg)
		return nil
	}
	if !isKey {
		return nil
	}
	m.body.valid = false
	m.said = message{}
	key := k.String()
	if key == "esc" && m.filters[m.at] != "" && !m.page().Key(key, m.context()) {
		m.setFilter("")
		return nil
	}
	if m.at == "audit" && (key == "G" || key == "end" || key == "j" || key == "down") && m.atEnd() {
		return m.older()
	}
	if (m.snap.Status != nil || m.apart()) && m.page().Key(key, m.context()) {
		return nil
	}
	return m.global(key)
}

// global handles the keys that mean the same everywhere.
func (m *model) global(key string) tea.Cmd {
	switch key {
	case "q":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case ":":
		m.palette()
	case "?":
		m.open(m.help(), nil)
	case "/":
		m.filtering = true
		m.filter.SetValue(m.filters[m.at])
	case "x":
		m.menu()
	case "w":
		m.toggleWrite()
	case "y":
		return m.copy(m.line())
	case "r":
		m.feed.Retry()
		m.say(theme.Info, "asking again")
	case "enter":
		m.enter()
	case "esc", "[":
		m.step(&m.back, &m.fore)
	case "]":
		m.step(&m.fore, &m.back)
	case "-":
		if n := len(m.back); n > 0 {
			m.visit(m.back[n-1])
		}
	default:
		if a, ok := action.ByKey(key, m.at); ok {
			return m.begin(a)
		}
	}
	return nil
}

// enter opens what the dashboard's panel is about.
func (m *model) enter() {
	d, ok := m.page().(*page.Dashboard)
	if !ok || m.snap.Status == nil {
		return
	}
	name, filter := d.Open(m.context())
	if name == "" {
		return
	}
	m.visit(name)
	if filter != "" {
		m.setFilter(filter)
	}
}

// visit goes to a page and remembers the one left.
func (m *model) visit(name string) {
	if name == m.at || m.pages[name] == nil {
		return
	}
	m.back = append(m.back[max(len(m.back)-50, 0):], m.at)
	m.fore = nil
	m.at = name
	m.look(name)
	m.body.valid = false
}

// look begins to keep what a page shows and nothing else does.
func (m *model) look(name string) {
	switch name {
	case "cluster", "instances":
		m.feed.Look(m.ctx, store.Cluster)
	case "backups", "restore":
		m.feed.Look(m.ctx, store.Recovery)
	}
}

// step goes one page back in from's history, leaving the present one in to's.
func (m *model) step(from, to *[]string) {
	if n := len(*from); n > 0 {
		*to = append(*to, m.at)
		m.at, *from = (*from)[n-1], (*from)[:n-1]
		m.body.valid = false
	}
}

func (m *model) setFilter(text string) {
	m.filters[m.at] = text
	m.page().Filter(text)
	m.body.valid = false
}

func (m *model) toFilter(msg tea.Msg) {
	if k, ok := msg.(tea.KeyPressMsg); ok {
		switch k.String() {
		case "enter":
			m.filtering = false
			return
		case "esc":
			m.filtering = false
			m.setFilter("")
			return
		}
	}
	m.filter.Update(msg)
	m.setFilter(m.filter.Value())
}

// open shows a dialog; accept is what follows when the person agrees.
func (m *model) open(d dialog.Dialog, accept func() tea.Cmd) {
	m.dialog, m.accept, m.openedAt = d, accept, m.o.Now()
	m.filtering = false
}

func (m *model) shut() { m.dialog, m.accept, m.flow = nil, nil, nil }

func (m *model) toDialog(msg tea.Msg) tea.Cmd {
	if m.dialog.Guarded() && m.o.Now().Sub(m.openedAt) < swallow {
		return nil
	}
	if p, ok := m.dialog.(*dialog.Plan); ok && p.Only {
		if k, ok := msg.(tea.KeyPressMsg); ok && k.String() == "y" {
			return m.copy(p.Same)
		}
	}
	switch m.dialog.Update(msg) {
	case dialog.Canceled:
		m.shut()
	case dialog.Accepted:
		accept := m.accept
		if accept == nil {
			m.shut()
			return nil
		}
		return accept()
	case dialog.Open:
	}
	return nil
}

// copy puts a command line on the clipboard and shows it, for terminals that do not let it.
func (m *model) copy(line string) tea.Cmd {
	if m.o.Copy != nil {
		if err := m.o.Copy(line); err != nil {
			m.say(theme.Warn, "could not copy ("+first(err)+"): "+line)
			return nil
		}
	}
	m.say(theme.OK, "copied: "+line)
	if m.o.Copy != nil {
		return nil
	}
	return tea.SetClipboard(line)
}

// line is the command that tells what the page shows.
func (m *model) line() string {
	id := m.at
	if id == "restore" {
		id = "restore.start"
	}
	if a, ok := action.Find(id); ok {
		return a.Line(m.state())
	}
	return "covetctl"
}

// logs follows the log of what is selected.
func (m *model) logs() tea.Cmd {
	sel := m.selection()
	q := console.LogQuery{Instance: sel.Instance, Lines: 500}
	if m.at == "rollouts" || m.at == "dashboard" {
		q = console.LogQuery{Release: sel.Release, Lines: 500}
	}
	return m.tail(store.NewTail(m.o.Port, q, m.wake))
}

// releaseLogs follows the logs of everything of the selected release.
func (m *model) releaseLogs() tea.Cmd {
	return m.tail(store.NewTail(m.o.Port, console.LogQuery{Release: m.selection().Release, Lines: 500}, m.wake))
}

// previousLogs shows what the selected pod wrote in its life before this one.
func (m *model) previousLogs() tea.Cmd {
	c, ok := m.o.Port.(console.Cluster)
	if !ok {
		return nil
	}
	return m.tail(store.NewPrevious(c, m.selection().Instance, 500, m.wake))
}

// tail shows a log in place of the one before.
func (m *model) tail(t *store.Tail) tea.Cmd {
	if m.stopTail != nil {
		m.stopTail()
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.stopTail = cancel
	m.pages["logs"] = page.NewLogs(t)
	m.filters["logs"] = ""
	m.visit("logs")
	return func() tea.Msg {
		t.Run(ctx)
		return nil
	}
}

func (m *model) atEnd() bool {
	a, ok := m.page().(*page.Audit)
	return ok && m.snap.Status != nil && a.AtEnd(m.context())
}

// older asks for audit entries before the oldest one known.
func (m *model) older() tea.Cmd {
	m.say(theme.Info, "asking for older entries")
	return func() tea.Msg { return olderMsg{m.feed.Older(m.ctx, 500)} }
}

// first is an error's first line.
func first(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
