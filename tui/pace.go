package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/store"
)

// Times between two drawings for the clock's sake. What is new is drawn at once, whatever they are.
const (
	attended    = 10 * time.Second // after a key somebody is taken to look
	everySecond = time.Second
	everyOther  = 2 * time.Second // where nobody looks and nothing counts down, drawing is most of what a console uses
)

// pace is the time to the next drawing.
func (m *model) pace() time.Duration {
	now := m.o.Now()
	st := m.snap.Status
	counting := m.write() || m.dialog != nil || now.Before(m.said.until) || m.snap.Link.State != store.Live ||
		st == nil || st.Rollout != nil || len(st.Incidents) > 0
	if counting || now.Sub(m.touched) < attended {
		return everySecond
	}
	return everyOther
}

func (m *model) tick() tea.Cmd {
	return tea.Every(m.pace(), func(time.Time) tea.Msg { return tickMsg{} })
}
