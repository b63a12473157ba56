package tui

import (
	"strconv"

	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// footer draws what the console has to say, and below it which keys lead on.
func (m *model) footer(r widget.Region) {
	if r.Empty() {
		return
	}
	if r.H == 1 {
		if !m.speak(r) {
			m.hints(r)
		}
		return
	}
	if !m.speak(r) {
		r.PutCut(1, 0, r.W-2, theme.Muted, "same as: "+m.line(), m.g.Ellipsis)
	}
	m.hints(r.Sub(0, 1, r.W, 1))
}

// speak draws the filter that is being typed, the last message or the state of the connection, and reports whether there
// was any of it.
func (m *model) speak(r widget.Region) bool {
	switch {
	case m.filtering:
		x := r.Put(1, 0, theme.Accent, "/")
		m.filter.Draw(r, x, 0, min(r.W-x, 40), theme.Strong, true)
		r.PutRight(r.W-1, 0, theme.Muted, "enter keeps it "+m.g.Dot+" esc shows all")
	case m.said.text != "" && m.o.Now().Before(m.said.until):
		r.PutCut(1, 0, r.W-2, m.said.role, m.said.text, m.g.Ellipsis)
	case m.snap.Link.State == store.Lost:
		r.PutCut(1, 0, r.W-2, theme.Bad, "connection lost: "+m.snap.Link.Message+" "+m.g.Dot+" next try "+m.nextTry(), m.g.Ellipsis)
	case m.filters[m.at] != "":
		r.PutCut(1, 0, r.W-2, theme.Warn, "only what has "+strconv.Quote(m.filters[m.at])+" in it "+m.g.Dot+" esc shows all", m.g.Ellipsis)
	default:
		return false
	}
	return true
}

// hints draws the keys: of the page's actions where it has some, and of the console.
func (m *model) hints(r widget.Region) {
	x := 1
	hint := func(key, text string, role theme.Role) {
		if w := len(key) + 2 + widget.Width(text) + 1; x+w <= r.W {
			keyRole := theme.Accent
			if role == theme.Border {
				keyRole = theme.Border
			}
			x = r.Put(x, 0, keyRole, "<"+key+">")
			x = r.Put(x, 0, role, text+" ")
		}
	}
	hint("?", "help", theme.Text)
	if !m.write() {
		hint("w", "write", theme.Text)
	}
	for _, id := range pageActions(m.kind()) {
		a, ok := action.Find(id.action)
		if !ok {
			continue
		}
		if ok, _ := a.Enabled(m.state()); ok {
			hint(a.Key, id.word, theme.Text)
		} else {
			hint(a.Key, id.word+m.g.Bad, theme.Border)
		}
	}
	if m.write() {
		hint("w", "read-only", theme.Muted)
	}
	for _, h := range [][2]string{{":", "command"}, {"x", "actions"}, {"/", "filter"}, {"enter", "open"}, {"tab", "panel"}, {"z", "zoom"}, {"y", "copy"}, {"esc", "back"}, {"q", "quit"}} {
		hint(h[0], h[1], theme.Muted)
	}
}

// kind is what the present page is of: where the service runs in a cluster its instances are pods.
func (m *model) kind() string {
	if m.at == "instances" && m.pages["cluster"] != nil {
		return "pods"
	}
	return m.at
}

// shortcut is an action with one word for it.
type shortcut struct{ action, word string }

// pageActions are the actions that a page is mostly opened for.
func pageActions(page string) []shortcut {
	switch page {
	case "rollouts":
		return []shortcut{{"rollout.start", "start"}, {"rollout.promote", "promote"}, {"rollout.pause", "pause"}, {"rollout.resume", "resume"}, {"rollout.abort", "abort"}, {"rollback", "rollback"}, {"rollout.plan", "plan"}}
	case "incidents":
		return []shortcut{{"incident.ack", "ack"}, {"incident.close", "close"}, {"incident.open", "declare"}, {"rollback", "rollback"}}
	case "instances":
		return []shortcut{{"logs", "logs"}}
	case "pods":
		return []shortcut{{"logs", "logs"}, {"logs.release", "release's"}, {"logs.previous", "life before"}}
	case "cluster":
		return []shortcut{{"logs", "logs"}, {"logs.previous", "life before"}}
	case "backups":
		return []shortcut{{"restore", "restore"}, {"backup.job", "run a job"}}
	case "restore":
		return []shortcut{{"restore.plan", "plan"}, {"restore.start", "restore"}, {"restore.type", "type it"}, {"restore.dir", "directory"}, {"restore.release", "release"}, {"restore.resume", "go on"}, {"restore.abandon", "give up"}}
	case "dashboard":
		return []shortcut{{"rollback", "rollback"}, {"logs", "logs"}}
	}
	return nil
}
