package tui

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/page"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
	"github.com/covetpy/covet/tui/widget"
)

// source is where snapshots come from.
type source interface {
	Snapshot() *store.Snapshot
	Retry()
	Focus(rollout string)
	Older(ctx context.Context, n int) error
	Look(ctx context.Context, s store.Subject)
}

// Messages of the console's own.
type (
	newsMsg   struct{} // there is a new snapshot, or there are new log lines
	tickMsg   struct{} // a second has passed, or two
	resizeMsg struct{} // the terminal's size has stood still for a moment
	olderMsg  struct{ err error }

	targetsMsg struct { // where else the console could look
		targets console.Targets
		err     error
		near    bool // as far as is known without asking the cluster
	}
	switchedMsg struct { // another target is open, or could not be opened
		port console.Port
		err  error
	}
)

// Times of the screen.
const (
	swallow  = 400 * time.Millisecond // keys on their way when a dialog opens do not reach it
	settle   = 40 * time.Millisecond  // a terminal's size must stand still for so long
	sayFor   = 6 * time.Second        // a message stays
	quietFor = 3 * time.Second        // without news before it is said
)

// model is the whole console.
type model struct {
	ctx  context.Context
	o    Options
	feed source
	wake func()
	snap *store.Snapshot

	theme *theme.Theme
	g     theme.Glyphs
	auto  bool // the theme follows the terminal

	w, h       int
	nextW      int
	nextH      int
	resizedAt  time.Time
	settling   bool
	pages      map[string]page.Page
	at         string
	back, fore []string
	stopTail   context.CancelFunc

	filter    dialog.Field
	filtering bool
	filters   map[string]string // by page

	dialog   dialog.Dialog
	openedAt time.Time
	accept   func() tea.Cmd // what the dialog's acceptance leads to
	flow     *flow          // the command being worked towards

	touched    time.Time // when a key was last pressed
	writeUntil time.Time
	said       message

	picking   *picking     // where to go is being chosen
	switching bool         // another target is being opened: nothing may be changed in this one any more
	next      console.Port // it is open: the console ends, and begins anew with it

	canvas *widget.Surface
	body   bodyCache
	dirty  bool
	frame  string
}

// message is what the console last told the person.
type message struct {
	role  theme.Role
	text  string
	until time.Time
}

func newModel(ctx context.Context, o Options, feed source, wake func()) *model {
	name := o.Theme
	if o.NoColor {
		name = "none"
	}
	t, err := theme.New(name)
	if err != nil {
		panic("tui: the theme was checked before: " + err.Error())
	}
	m := &model{
		ctx: ctx, o: o, feed: feed, wake: wake, snap: feed.Snapshot(), theme: t, g: o.glyphs(), auto: o.Theme == "" && !o.NoColor,
		at: "dashboard", filters: map[string]string{}, filter: dialog.NewField(80), canvas: widget.NewSurface(0, 0), dirty: true,
		pages: map[string]page.Page{
			"dashboard": page.NewDashboard(), "instances": page.NewInstances(), "rollouts": page.NewRollouts(),
			"incidents": page.NewIncidents(), "audit": page.NewAudit(), "backups": page.NewBackups(), "restore": page.NewRestore(),
		},
	}
	if _, ok := o.Port.(console.Cluster); ok {
		m.pages["instances"], m.pages["cluster"] = page.NewPods(), page.NewCluster()
	}
	m.canvas.Plain(o.ASCII)
	if !o.ReadOnly {
		m.writeUntil = o.Now().Add(o.WriteFor)
	}
	return m
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	if m.auto {
		return tea.Batch(m.tick(), tea.RequestBackgroundColor)
	}
	return m.tick()
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case newsMsg:
		m.news()
	case tickMsg:
		m.second()
		return m, m.tick()
	case tea.WindowSizeMsg:
		return m, m.resize(msg.Width, msg.Height)
	case resizeMsg:
		m.settling = false
		m.setSize(m.nextW, m.nextH)
	case tea.BackgroundColorMsg:
		m.follow(map[bool]string{true: "dark", false: "light"}[msg.IsDark()])
	case tea.ColorProfileMsg:
		if msg.Profile == colorprofile.ANSI {
			m.follow("16")
		}
	case tea.KeyPressMsg, tea.PasteMsg:
		m.dirty, m.touched = true, m.o.Now()
		cmd := m.input(msg)
		m.feed.Focus(m.selection().Rollout)
		return m, cmd
	case planMsg:
		m.dirty = true
		m.planned(msg)
	case doneMsg:
		m.dirty = true
		return m, m.done(msg)
	case targetsMsg:
		m.dirty = true
		m.pickTarget(msg)
	case switchedMsg:
		return m, m.switched(msg)
	case olderMsg:
		if msg.err != nil {
			m.say(theme.Bad, "older entries: "+first(msg.err))
		}
	}
	return m, nil
}

// news takes the newest snapshot.
func (m *model) news() {
	if s := m.feed.Snapshot(); s != m.snap {
		m.snap = s
	}
	m.o = m.o.named()
	m.feed.Focus(m.selection().Rollout)
	if m.at == "dashboard" && m.snap.Status != nil && m.snap.Status.Recovery == nil {
		m.look("backups") // the service doesn't say, and its front page has it
	}
	m.dirty = true
	m.body.valid = false
}

// second lets what depends on the clock pass.
func (m *model) second() {
	m.news()
	now := m.o.Now()
	if !m.writeUntil.IsZero() && now.After(m.writeUntil) {
		m.writeUntil = time.Time{}
		m.say(theme.Warn, "write mode is over: read-only again")
	}
}

// follow changes the theme to what the terminal needs, unless a person chose one.
func (m *model) follow(name string) {
	if !m.auto {
		return
	}
	if name == "16" {
		m.auto = false
	}
	if t, err := theme.New(name); err == nil {
		m.theme, m.dirty = t, true
	}
}

// resize takes a new size at once, and the ones that follow it quickly only when they have ended.
func (m *model) resize(w, h int) tea.Cmd {
	m.nextW, m.nextH = w, h
	now := m.o.Now()
	quick := now.Sub(m.resizedAt) < settle
	m.resizedAt = now
	if !quick && !m.settling {
		m.setSize(w, h)
		return nil
	}
	if m.settling {
		return nil
	}
	m.settling = true
	return tea.Tick(settle, func(time.Time) tea.Msg { return resizeMsg{} })
}

func (m *model) setSize(w, h int) {
	m.w, m.h = max(w, 0), max(h, 0)
	m.dirty = true
	m.body.valid = false
}

// write reports whether write mode is on. While another target is being opened it never is.
func (m *model) write() bool { return !m.switching && m.o.Now().Before(m.writeUntil) }

func (m *model) say(role theme.Role, text string) {
	m.said = message{role, text, m.o.Now().Add(sayFor)}
	m.dirty = true
}

func (m *model) context() page.Context {
	return page.Context{Snap: m.snap, Now: m.o.Now(), G: m.g}
}

// flagged is a port that knows the flags by which covetctl finds it again, whatever its environment says.
type flagged interface {
	Flags() []string
}

func (m *model) page() page.Page { return m.pages[m.at] }

// apart says whether the present page needs nothing of the service: the database's backups can be looked at without it.
func (m *model) apart() bool { return m.at == "backups" || m.at == "restore" }

func (m *model) selection() action.Selection {
	if m.snap.Status == nil && !m.apart() {
		return action.Selection{}
	}
	return m.page().Selection(m.context())
}

func (m *model) state() action.State {
	_, roams := m.o.Port.(elsewhere)
	s := action.State{Snap: m.snap, Write: m.write(), Roams: roams, Recovery: m.o.Recovery != nil, RecoveryOf: placeOf(m.o.recoveryOf), Selection: m.selection()}
	if f, ok := m.o.Port.(flagged); ok {
		s.Target = f.Flags()
	}
	return s
}

// service is the environment and the service, as they are typed to confirm.
func (m *model) service() string {
	st := m.snap.Status
	if st == nil {
		return ""
	}
	if st.Environment == "" {
		return st.Service
	}
	return st.Environment + "/" + st.Service
}

// production reports whether the environment is the one that customers use, by any word of its name: a context of Kubernetes
// may be called prod-eu-1.
func production(st *console.Status) bool {
	return productionName(st.Environment)
}

// productionName reports whether a word of the name is one of production.
func productionName(name string) bool {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) })
	return slices.ContainsFunc(words, func(w string) bool {
		return w == "production" || w == "prod" || w == "prd" || w == "live"
	})
}
