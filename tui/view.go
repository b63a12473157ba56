package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// bodyCache is the page as it was last drawn, so that what is typed into a dialog does not draw it again.
type bodyCache struct {
	surface *widget.Surface
	valid   bool
	second  int64
}

// View implements tea.Model. It draws only when something changed: it is called after every message.
func (m *model) View() tea.View {
	if m.dirty {
		m.frame, m.dirty = m.draw(), false
	}
	v := tea.NewView(m.frame)
	v.AltScreen = true
	v.WindowTitle = "covetctl " + m.service()
	return v
}

// small reports whether there is room only for one line of header and one of footer.
func (m *model) small() bool { return m.w < 60 || m.h < 15 }

func (m *model) draw() string {
	m.canvas.Reset(m.w, m.h)
	r := m.canvas.All()
	if r.Empty() {
		return ""
	}
	above, below := 2, 2
	if m.small() {
		above, below = 1, 1
	}
	if m.h < 4 {
		below = 0
	}
	m.drawBody(r.Sub(0, above, r.W, r.H-above-below))
	if m.dialog != nil {
		r.Sub(0, above, r.W, r.H-above-below).Repaint(theme.Stale)
	}
	m.header(r.Sub(0, 0, r.W, above))
	m.footer(r.Sub(0, r.H-below, r.W, below))
	if m.dialog != nil {
		m.dialog.Draw(r.Sub(0, above, r.W, r.H-above), m.g)
	}
	return m.canvas.Render(m.theme)
}

func (m *model) drawBody(r widget.Region) {
	if r.Empty() {
		return
	}
	now := m.o.Now().Unix()
	if !m.body.valid || m.body.second != now {
		if m.body.surface == nil {
			m.body.surface = widget.NewSurface(0, 0)
			m.body.surface.Plain(m.o.ASCII)
		}
		m.body.surface.Reset(r.W, r.H)
		m.drawPage(m.body.surface.All())
		m.body.valid, m.body.second = true, now
	}
	r.Copy(m.body.surface)
}

func (m *model) drawPage(r widget.Region) {
	if m.snap.Status == nil && !m.apart() {
		m.unreachable(r)
		return
	}
	m.page().Draw(r, m.context())
	if m.snap.Link.State != store.Live && !m.apart() {
		r.Repaint(theme.Stale)
	}
}

// unreachable says why there is nothing to show, and what to do.
func (m *model) unreachable(r widget.Region) {
	l := m.snap.Link
	type line struct {
		head, text string
		role       theme.Role
	}
	lines := []line{{"target", m.o.Target, theme.Strong}}
	title, state, role := "connecting", m.g.Wait, theme.Info
	if l.Message != "" {
		title, state, role = "no connection", m.g.Bad+" "+m.unreached(), theme.Bad
		lines = append(lines, line{"reason", l.Message, theme.Bad})
		if l.Hint != "" {
			lines = append(lines, line{"", m.g.Arrow + " " + l.Hint, theme.Text})
		}
		lines = append(lines, line{"retry", m.nextTry(), theme.Muted}, line{})
		if m.pages["cluster"] != nil {
			lines = append(lines, line{"check", "covetctl config check", theme.Text}, line{"elsewhere", "0 goes to another context, namespace or service", theme.Text})
		} else {
			lines = append(lines, line{"start it", "covetd", theme.Text}, line{"check", "covetctl config check", theme.Text},
				line{"go back", "covetctl rollback works without covetd too", theme.Text})
		}
	}
	w, h := min(r.W, 78), 2
	for _, l := range lines {
		h += len(widget.Wrap(l.text, w-14))
	}
	box := r.Sub((r.W-w)/2, max((r.H-h)/3, 0), w, min(r.H, h))
	inner := box
	if r.H >= 6 && r.W >= 30 {
		inner = widget.Panel{Title: title, State: state, Role: role}.Draw(box, m.g)
	}
	y := 0
	for _, l := range lines {
		inner.Put(0, y, theme.Muted, l.head)
		wrapped := widget.Wrap(l.text, inner.W-10)
		for _, t := range wrapped {
			inner.Put(10, y, l.role, t)
			y++
		}
	}
}

// unreached says in a few words what could not be.
func (m *model) unreached() string {
	if m.pages["cluster"] != nil {
		return "the service is not reached"
	}
	return "covetd does not answer"
}

// nextTry says when the next try to connect is.
func (m *model) nextTry() string {
	l := m.snap.Link
	left := l.NextAt.Sub(m.o.Now())
	if left <= 0 {
		return "trying now (r tries again at once)"
	}
	return "in " + widget.Age(left+999999999) + " (r tries at once)"
}

// header draws who and where, always in words, and how things stand with the console itself.
func (m *model) header(r widget.Region) {
	x := m.identity(r)
	right := m.standing()
	end := r.W - 1
	for i := len(right) - 1; i >= 0; i-- {
		w := widget.Width(right[i].text)
		if end-w < x+1 && i > 0 || end-w < 0 {
			continue
		}
		r.Put(end-w, 0, right[i].role, right[i].text)
		end -= w + 2
	}
	if r.H > 1 {
		m.tabs(r.Sub(0, 1, r.W, 1))
	}
}

func (m *model) identity(r widget.Region) int {
	x := 1
	if r.W >= 70 && (m.pages["cluster"] == nil || r.W >= 120) {
		x = r.Put(x, 0, theme.Title, "covetctl") + 2
	}
	st := m.snap.Status
	if st == nil {
		if m.pages["cluster"] != nil {
			if productionName(m.o.Target) {
				x = r.Put(x, 0, theme.Prod, " PRODUCTION ") + 1
			}
			return r.PutCut(x, 0, m.identityRoom(r, x), theme.Muted, placeOf(m.o.Target), m.g.Ellipsis)
		}
		return r.Put(x, 0, theme.Muted, "environment unknown")
	}
	name, role := strings.ToUpper(st.Environment), theme.Env
	if production(st) {
		name, role = "PRODUCTION", theme.Prod
	}
	if name == "" {
		name = "NO ENVIRONMENT"
	}
	x = r.Put(x, 0, role, " "+name+" ")
	if m.pages["cluster"] != nil {
		place := placeOf(m.o.Target)
		if context, rest, ok := strings.Cut(place, "/"); ok && strings.EqualFold(context, st.Environment) && role != theme.Prod {
			place = rest // the environment is the context's name, and stands there already
		}
		x = r.PutCut(x+1, 0, m.identityRoom(r, x+1), theme.Strong, place, m.g.Ellipsis)
	} else {
		x = r.PutCut(x+1, 0, 24, theme.Strong, st.Service, m.g.Ellipsis)
	}
	if m.o.User != "" && r.W >= 120 {
		x = r.Put(x+2, 0, theme.Muted, "user "+m.o.User)
	}
	return x
}

// identityRoom is how much of the header's first line is left for who and where: the connection and the write mode come first.
func (m *model) identityRoom(r widget.Region, x int) int {
	right := m.standing()
	w := 0
	for _, s := range right[:min(len(right), 2)] {
		w += widget.Width(s.text) + 2
	}
	return max(r.W-x-w-1, 12)
}

// placeOf is where in which cluster a service is, from how the target is called.
func placeOf(target string) string { return strings.TrimPrefix(target, "kubernetes:") }

// mark is a piece of the header's right side.
type mark struct {
	role theme.Role
	text string
}

// standing is the connection, the write mode and the time; the connection is the last to be left out.
func (m *model) standing() []mark {
	var out []mark
	if m.write() {
		out = append(out, mark{theme.Write, " WRITE " + widget.Clock(m.writeUntil.Sub(m.o.Now())) + " left "})
	} else {
		out = append(out, mark{theme.Strong, "READ-ONLY"})
	}
	out = append(out, m.link())
	if m.w >= 70 {
		out = append(out, mark{theme.Muted, m.o.Now().UTC().Format("15:04:05Z")})
	}
	return out
}

func (m *model) link() mark {
	l := m.snap.Link
	age := m.o.Now().Sub(l.HeardAt)
	switch {
	case l.State == store.Connecting && l.Message == "":
		return mark{theme.Info, m.g.Wait + " connecting"}
	case l.State == store.Connecting:
		return mark{theme.Bad, m.g.Bad + " unreachable"}
	case l.State == store.Lost:
		return mark{theme.Bad, m.g.Bad + " STALE " + widget.Age(age)}
	case m.snap.Status != nil && m.snap.Status.Offline:
		return mark{theme.Warn, m.g.Warn + " covetd is down"}
	case age > quietFor:
		return mark{theme.Warn, m.g.Warn + " quiet " + widget.Age(age)}
	}
	return mark{theme.OK, m.g.OK + " live"}
}

// tab is a page, its key, and its name at two lengths.
type tab struct{ id, key, long, name string }

// tabs draws the target and the pages with their keys; the present one is in brackets.
func (m *model) tabs(r widget.Region) {
	pages := []tab{
		{"dashboard", "1", "dashboard", "dash"}, {"instances", "2", "instances", "inst"}, {"rollouts", "3", "rollouts", "roll"},
		{"incidents", "5", "incidents", "incid"}, {"audit", "8", "audit", "audit"}, {"logs", "l", "logs", "logs"},
	}
	if m.o.Recovery != nil {
		pages = slices.Insert(pages, 3, tab{"backups", "4", "backups", "back"})
		if r.W >= 120 || m.at == "restore" {
			pages = slices.Insert(pages, 4, tab{"restore", "t", "restore", "rest"})
		}
	}
	if m.pages["cluster"] != nil {
		pages[1] = tab{"instances", "2", "pods", "pods"}
		pages = append([]tab{{"target", "0", "target", "tgt"}}, append(pages, tab{"cluster", "e", "events", "evts"})...)
	}
	end := r.W - 1
	for i := len(pages) - 1; i >= 0; i-- {
		p := pages[i]
		name := p.name
		if r.W >= 120 {
			name = p.long
		}
		text, role := " "+p.key+" "+name+" ", theme.Muted
		if p.id == m.at {
			text, role = "["+p.key+" "+name+"]", theme.Accent
		}
		if end-len(text) < 0 {
			return
		}
		end -= len(text)
		r.Put(end, 0, role, text)
	}
	if m.pages["cluster"] == nil || r.W >= 120 { // a cluster's stands in the line above
		r.PutCut(1, 0, end-2, theme.Muted, m.o.Target, m.g.Ellipsis)
	}
}
