package tui

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/page"
	"github.com/covetpy/covet/tui/theme"
)

const (
	planWithin = 90 * time.Second // a repository far away may have much to read
	// typingAllowed is how much more may be lost than the plan said, besides what is written while the plan is being read:
	// the service goes on writing until it is stopped.
	typingAllowed = 30 * time.Second
)

// restorePage is the page on which a point is chosen.
func (m *model) restorePage() *page.Restore { return m.pages["restore"].(*page.Restore) }

// recover does an action on the database's backups.
func (m *model) recover(a action.Action) tea.Cmd {
	switch a.ID {
	case "backup.job":
		m.chooseJob(a)
	case "restore.type":
		m.visit("restore")
		m.typePoint()
	case "restore.dir":
		m.visit("restore")
		m.typeDirectory()
	case "restore.release":
		m.visit("restore")
		m.chooseServing()
	case "restore.plan", "restore.start":
		return m.destroy(m.restoring(a))
	case "restore.resume":
		m.takeUp(a, dialog.Prompt{Lines: []string{"It goes on from the step at which it stands. What is done is not done again."}, Do: "goes on"})
	case "restore.abandon":
		m.takeUp(a, dialog.Prompt{Lines: []string{"Its record is closed. The service stays stopped, and the database as it is."}, Label: "what is given up", Must: cmp.Or(m.service(), m.snap.Restore.ID), Do: "gives it up"})
	}
	return nil
}

// restoring is a restore to the chosen point, on its way through its plan.
func (m *model) restoring(a action.Action) *flow {
	state, desk := m.state(), m.o.Recovery
	in := state.Point.Request
	f := &flow{action: a, line: a.Line(state), within: planWithin}
	f.ask = func(ctx context.Context) (console.Plan, error) { return desk.PlanRestore(ctx, in) }
	now := m.o.Now
	f.do = func(ctx context.Context, c console.Common) (string, error) {
		in := in
		shown := f.plan.Current()
		in.Reason, in.PlanHash = c.Reason, c.PlanHash
		in.AcceptLoss = shown.Lose.Std() + max(now().Sub(shown.At), 0) + typingAllowed
		o, err := desk.Restore(ctx, in)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("restore %s has begun: it goes on without this console too", o.ID), nil
	}
	return f
}

// takeUp asks, and then goes on with a restore that stands still, or gives it up.
func (m *model) takeUp(a action.Action, p dialog.Prompt) {
	desk, id := m.o.Recovery, m.snap.Restore.ID
	f := &flow{action: a, line: a.Line(m.state()), within: answerWithin}
	f.do = func(ctx context.Context, _ console.Common) (string, error) {
		o, err := desk.Resume(ctx, id, a.ID == "restore.abandon")
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("restore %s: %s", o.ID, o.Describe()), nil
	}
	p.Title = a.Title
	p.Lines = append([]string{fmt.Sprintf("Restore %s of %s: %s.", id, m.snap.Restore.Dir, m.snap.Restore.Describe())}, p.Lines...)
	m.prompt(f, p)
}

// chooseJob asks which of the jobs of recovery is to be done now.
func (m *model) chooseJob(a action.Action) {
	kinds := []recovery.Kind{recovery.Backup, recovery.Verify, recovery.Drill}
	notes := []string{"a base backup of what has changed", "reads the backup back that was checked longest ago", "restores into a scratch folder, checks it, and removes it"}
	items := make([]dialog.Item, len(kinds))
	for i, k := range kinds {
		items[i] = dialog.Item{Label: string(k), Note: notes[i]}
	}
	c := dialog.NewChoice("do what now?", "It is done by a process of its own on this machine.", false, items)
	m.open(c, func() tea.Cmd {
		k, desk := kinds[c.Index()], m.o.Recovery
		f := &flow{action: a, line: a.Line(m.state(), string(k), "--now"), within: answerWithin}
		f.do = func(ctx context.Context, _ console.Common) (string, error) { return desk.RunJob(ctx, k) }
		m.prompt(f, dialog.Prompt{Title: string(k) + " now", Lines: []string{notes[c.Index()] + "."}, Do: "begins it"})
		return nil
	})
}

// typePoint lets the target be typed.
func (m *model) typePoint() {
	d := dialog.NewPrompt(dialog.Prompt{
		Title: "restore to which point?", Need: true, Do: "takes it",
		Lines: []string{
			"A time: 2026-03-01 13:57:48Z, or 13:57:48 for today (UTC). A log position: 16/B374D848. A transaction: xid 4711. A restore point: name before-migration. Or newest.",
		}, Label: "point",
	})
	m.open(d, func() tea.Cmd {
		t, err := parsePoint(d.Value(), m.o.Now())
		m.shut()
		if err != nil {
			m.say(theme.Bad, err.Error())
			return nil
		}
		m.restorePage().Aim(t)
		m.body.valid = false
		return nil
	})
}

// parsePoint reads what a person calls a point in time.
func parsePoint(text string, now time.Time) (restore.Target, error) {
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case text == "newest" || text == "latest":
		return restore.Target{Kind: restore.Latest}, nil
	case word == "xid" && rest != "":
		n, err := strconv.ParseUint(rest, 10, 32)
		if err != nil {
			return restore.Target{}, fmt.Errorf("%q is not a transaction number", rest)
		}
		return restore.Target{Kind: restore.AtXID, XID: uint32(n)}, nil
	case word == "name" && rest != "":
		return restore.Target{Kind: restore.AtName, Name: rest}, nil
	}
	if lsn, err := backup.ParseLSN(text); err == nil {
		return restore.Target{Kind: restore.AtLSN, LSN: lsn}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999Z07:00", "2006-01-02 15:04:05.999999", "2006-01-02 15:04Z07:00", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return restore.Target{Kind: restore.AtTime, Time: t.UTC()}, nil
		}
	}
	for _, layout := range []string{"15:04:05.999999", "15:04"} {
		if t, err := time.Parse(layout, strings.TrimSuffix(text, "Z")); err == nil {
			day := now.UTC().Truncate(24 * time.Hour)
			at := day.Add(t.Sub(t.Truncate(24 * time.Hour)))
			if at.After(now) {
				at = at.Add(-24 * time.Hour) // nobody restores to the future
			}
			return restore.Target{Kind: restore.AtTime, Time: at}, nil
		}
	}
	return restore.Target{}, fmt.Errorf("%q is no point in time: write it as 2026-03-01 13:57:48Z, 13:57:48, 16/B374D848, xid 4711 or name NAME", text)
}

func (m *model) typeDirectory() {
	d := dialog.NewPrompt(dialog.Prompt{
		Title: "restore into which data directory?", Do: "takes it", Label: "absolute path, on this machine",
		Lines: []string{"Empty is the database's own, which is found by PGDATA or asked of the server. A server that runs in it is stopped first."},
	})
	m.open(d, func() tea.Cmd {
		dir := d.Value()
		m.shut()
		if dir != "" && !strings.HasPrefix(dir, "/") {
			m.say(theme.Bad, fmt.Sprintf("%q is no absolute path", dir))
			return nil
		}
		m.restorePage().SetDir(dir)
		m.body.valid = false
		return nil
	})
}

// chooseServing asks which release is to serve once the database is back.
func (m *model) chooseServing() {
	items := []dialog.Item{{Label: "the one that served then", Note: "as far as the rollouts tell"}}
	versions := []string{""}
	for _, r := range m.snap.Releases {
		versions = append(versions, r.Version)
		items = append(items, dialog.Item{Label: r.Version, Note: m.known(r)})
	}
	c := dialog.NewChoice("which release serves afterwards?", "", false, items)
	m.open(c, func() tea.Cmd {
		m.restorePage().Choose(versions[c.Index()])
		m.shut()
		m.body.valid = false
		return nil
	})
}
