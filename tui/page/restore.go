package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/widget"
)

// Restore is where a point in time is chosen to bring the database back to, and where the restore is watched.
type Restore struct {
	at     time.Time       // the target
	moved  bool            // the person has chosen it
	latest bool            // everything that is archived, instead
	exact  *restore.Target // a position, transaction or name, instead
	span   time.Duration   // that is shown; zero: all of the window, or its last hours
	dir    string          // chosen by the person
	chosen string          // release, likewise
}

// NewRestore makes the page.
func NewRestore() *Restore { return &Restore{} }

// Filter does nothing: there is no list.
func (p *Restore) Filter(string) {}

// Aim sets the target.
func (p *Restore) Aim(t restore.Target) {
	p.exact, p.latest, p.moved = nil, false, true
	switch t.Kind {
	case restore.AtTime:
		p.at = t.Time
	case restore.Latest:
		p.latest = true
	default:
		p.exact = &t
	}
}

// SetDir names the data directory to restore into; empty leaves it to be found.
func (p *Restore) SetDir(dir string) { p.dir = dir }

// Choose sets the release that is to serve afterwards; empty is the one that served at the target.
func (p *Restore) Choose(release string) { p.chosen = release }

// target is the target as a restore takes it.
func (p *Restore) target() restore.Target {
	switch {
	case p.exact != nil:
		return *p.exact
	case p.latest:
		return restore.Target{Kind: restore.Latest}
	}
	return restore.Target{Kind: restore.AtTime, Time: p.at}
}

// Selection is the target with all that belongs to it.
func (p *Restore) Selection(c Context) action.Selection {
	if c.Snap.Recovery == nil {
		return action.Selection{}
	}
	p.settle(c)
	return action.Selection{Point: &action.Point{
		Request: console.RestoreRequest{Target: p.target(), Dir: p.dir, Release: p.release(c)}, Why: p.why(c),
	}}
}

// release is the one that is to serve afterwards.
func (p *Restore) release(c Context) string {
	if p.chosen != "" {
		return p.chosen
	}
	if p.exact != nil || p.latest {
		return stable(c)
	}
	return servedAt(c, p.at)
}

func stable(c Context) string {
	if c.Snap.Status == nil {
		return ""
	}
	return c.Snap.Status.Stable
}

// servedAt is the release that served at a moment, as far as the rollouts tell.
func servedAt(c Context, at time.Time) string {
	for _, r := range c.Snap.Rollouts { // newest first
		switch {
		case r.Phase != rollout.Succeeded || r.EndedAt.After(at):
			if r.Phase == rollout.Succeeded && r.From != "" && !r.StartedAt.After(at) {
				return r.From // it was on its way
			}
			continue
		default:
			return r.To
		}
	}
	return stable(c)
}

// newest is the last moment that can be restored to.
func newest(s *recovery.Posture) time.Time {
	if s.Reaches != nil {
		return s.Reaches.Time
	}
	if n := len(s.Coverage); n > 0 {
		return s.Coverage[n-1].To
	}
	return time.Time{}
}

// settle chooses a target for a person who has not: just before the last deployment, which is what people mostly come for.
func (p *Restore) settle(c Context) {
	if p.moved {
		return
	}
	s := c.Snap.Recovery
	p.latest = true
	for _, m := range markers(c) {
		if m.sign == "D" && reachable(s, m.at) && m.at.Before(newest(s)) {
			p.at, p.latest = m.at.UTC(), false
		}
	}
	if p.latest {
		p.at = newest(s).UTC()
	}
}

func reachable(s *recovery.Posture, at time.Time) bool {
	for _, span := range s.Coverage {
		if !at.Before(span.From) && !at.After(span.To) {
			return true
		}
	}
	return false
}

// why the target cannot be restored to, as far as that is known without a plan.
func (p *Restore) why(c Context) string {
	s := c.Snap.Recovery
	switch {
	case len(s.Coverage) == 0:
		return "there is no whole backup to restore from"
	case p.exact != nil || p.latest || reachable(s, p.at):
		return ""
	case p.at.Before(s.Coverage[0].From):
		return "no backup is as old as that: " + utc(s.Coverage[0].From) + " is the oldest moment"
	}
	return "there is a gap in the archived log: m and M lead to moments that can be restored to"
}

// moves are the keys that shift the target, and by how much.
var moves = map[string]time.Duration{
	"left": -time.Second, "right": time.Second, "H": -time.Minute, "L": time.Minute, "shift+left": -time.Minute, "shift+right": time.Minute,
	"<": -time.Hour, ">": time.Hour, "ctrl+left": -time.Hour, "ctrl+right": time.Hour,
}

// Key moves the target, and widens or narrows what is shown.
func (p *Restore) Key(key string, c Context) bool {
	if c.Snap.Recovery == nil {
		return false
	}
	p.settle(c)
	if by, ok := moves[key]; ok {
		p.moved = true
		p.shift(c, by)
		return true
	}
	switch key {
	case "m", "M":
		p.moved = true
		p.hop(c, key == "m")
	case "n", "end":
		p.moved = true
		p.exact, p.latest, p.at = nil, true, newest(c.Snap.Recovery).UTC()
	case "+", "=":
		p.span = max(p.shown(c)/2, time.Minute)
	case "-", "_":
		p.span = min(p.shown(c)*2, whole(c))
	default:
		return false
	}
	return true
}

// shift moves the target to whole seconds, within the window.
func (p *Restore) shift(c Context, by time.Duration) {
	p.exact = nil
	s := c.Snap.Recovery
	if len(s.Coverage) == 0 {
		return
	}
	p.at = p.at.Truncate(time.Second).Add(by)
	if first := s.Coverage[0].From.Add(time.Second).Truncate(time.Second).UTC(); p.at.Before(first) {
		p.at = first
	}
	last := newest(s).UTC()
	if p.latest = !p.at.Before(last); p.latest {
		p.at = last
	}
}

// hop goes to the next marker, or the one before.
func (p *Restore) hop(c Context, forward bool) {
	ms := markers(c)
	p.exact = nil
	for i := range ms {
		m := ms[i]
		if !forward {
			m = ms[len(ms)-1-i]
		}
		at := m.at.UTC()
		if m.sign == "B" {
			at = at.Add(time.Second).Truncate(time.Second) // a moment that lies behind its end
		}
		if beyond := at.After(p.at); beyond == forward && !at.Equal(p.at) {
			p.at, p.latest = at, false
			p.shift(c, 0)
			if !p.latest {
				p.at = at
			}
			return
		}
	}
	if forward {
		p.latest, p.at = true, newest(c.Snap.Recovery).UTC()
	}
}

// whole is the length of the recovery window.
func whole(c Context) time.Duration {
	s := c.Snap.Recovery
	if len(s.Coverage) == 0 {
		return time.Hour
	}
	return max(c.Now.Sub(s.Coverage[0].From)*51/50, time.Minute)
}

// firstShown is how much is shown until the person says otherwise.
const firstShown = 6 * time.Hour

func (p *Restore) shown(c Context) time.Duration {
	if p.span > 0 {
		return min(p.span, whole(c))
	}
	return min(firstShown, whole(c))
}

// view is the stretch of time that is shown: the target in it, and now, where both have room.
func (p *Restore) view(c Context, w int) timeline {
	span := p.shown(c)
	to := c.Now
	if from := to.Add(-span); !p.latest && p.at.Before(from) {
		to = p.at.Add(span / 2)
	}
	return timeline{from: to.Add(-span), to: to, w: w}
}

// loss is what would be lost, as far as it is known without a plan.
func (p *Restore) loss(c Context) string {
	s := c.Snap.Recovery
	switch {
	case p.exact != nil:
		return "p works it out"
	case p.latest:
		return "nothing that is archived"
	}
	return fmt.Sprintf("about %s of writes: all after the target", widget.Age(max(newest(s).Sub(p.at), 0)))
}

// near says where the target lies from what people know.
func (p *Restore) near(c Context) string {
	if p.exact != nil || p.latest {
		return ""
	}
	var best *marker
	ms := markers(c)
	for i := range ms {
		if best == nil || ms[i].at.Sub(p.at).Abs() < best.at.Sub(p.at).Abs() {
			best = &ms[i]
		}
	}
	if best == nil {
		return ""
	}
	switch by := best.at.Sub(p.at); {
	case by >= 0 && by < time.Second:
		return "just before " + best.text
	case by < 0 && by > -time.Second:
		return "just after " + best.text
	case by > 0:
		return widget.Age(by) + " before " + best.text
	default:
		return widget.Age(-by) + " after " + best.text
	}
}

// words are the target as a person says it.
func (p *Restore) words() string {
	switch {
	case p.exact != nil:
		return p.exact.String()
	case p.latest:
		return "the newest point"
	}
	return strings.TrimSuffix(p.at.UTC().Format("2006-01-02 15:04:05.999"), ".") + "Z"
}
