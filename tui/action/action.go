// Package action is the registry of all that can be done from the console. The palette, the help, the key hints and the
// command line that equals what is on the screen are made from it and nothing else.
package action

import (
	"strings"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/tui/store"
)

// Kind tells actions that only look from those that change something.
type Kind int

// The kinds.
const (
	Look   Kind = iota // opens a page
	Plan               // asks what would happen, changes nothing
	Change             // changes something: only in write mode
)

// Action is one thing that can be done.
type Action struct {
	ID          string
	Title       string
	Key         string
	Command     string     // the covetctl command that does the same, without its arguments: "rollout abort"
	Op          console.Op // what the service is asked
	Kind        Kind
	Destructive bool   // goes through a plan and a typed confirmation
	On          string // the page that its key is for, where another key stands for the same elsewhere; empty: everywhere

	page    string
	args    func(State) []string
	enabled func(State) string
}

// Point is what a restore would be asked for.
type Point struct {
	Request console.RestoreRequest
	Why     string // why it cannot be done, as far as is known without a plan; empty: it may be
}

// Selection is what the cursor is on.
type Selection struct {
	Instance string
	Rollout  string
	Incident string
	Release  string
	Backup   string
	Point    *Point // on the restore page
}

// State is what decides whether an action can be done now.
type State struct {
	Snap  *store.Snapshot
	Write bool // write mode is on
	Roams bool // the console can be pointed elsewhere
	// Recovery: backups can be looked at and restored from here; RecoveryOf is whose they are, where that is another target.
	Recovery   bool
	RecoveryOf string
	Target     []string // the flags that name what the console looks at, for the command that equals an action
	Selection
}

// Page is the name of the page that a Look opens.
func (a Action) Page() string { return a.page }

// Enabled reports whether the action can be done, and if not why.
func (a Action) Enabled(s State) (bool, string) {
	why := a.refusal(s)
	return why == "", why
}

func (a Action) refusal(s State) string {
	if a.Kind != Look && !a.apart() {
		switch {
		case s.Snap == nil || s.Snap.Status == nil:
			return "nothing is known of the service yet"
		case s.Snap.Link.State != store.Live:
			return "the connection is lost"
		}
	}
	if a.enabled != nil {
		if why := a.enabled(s); why != "" {
			return why
		}
	}
	if a.Kind == Change && !s.Write {
		return "read-only: w turns writing on"
	}
	return ""
}

// apart says whether the action is about the database, and needs nothing of the service's connection: a restore is mostly
// wanted when that is gone.
func (a Action) apart() bool { return a.On == "restore" || a.On == "backups" }

// Line is the whole command that equals the action as things are selected, with further arguments at its end.
func (a Action) Line(s State, more ...string) string {
	command := a.Command
	if a.ID == "instances" && onCluster(s) == "" {
		command = "cluster pods"
	}
	words := append([]string{"covetctl"}, strings.Fields(command)...)
	if a.args != nil {
		words = append(words, a.args(s)...)
	}
	words = append(append(words, more...), s.Target...)
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote makes a word safe to paste into a shell.
func quote(w string) string {
	if w == pgdata {
		return `"$PGDATA"`
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.,:/+=@%", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// Find returns the action with the id.
func Find(id string) (Action, bool) {
	for _, a := range All() {
		if a.ID == id {
			return a, true
		}
	}
	return Action{}, false
}

// ByKey returns the action that a key stands for on a page.
func ByKey(key, page string) (Action, bool) {
	var general Action
	for _, a := range All() {
		switch {
		case a.Key != key:
		case a.On == page:
			return a, true
		case a.On == "":
			general = a
		}
	}
	return general, general.ID != ""
}

// incident is the open incident that is selected, or else the worst one, or nil.
func (s State) incident() *health.Incident {
	open := s.Snap.Status.Incidents
	for i := range open {
		if s.Incident == "" || open[i].ID == s.Incident {
			return &open[i]
		}
	}
	return nil
}
