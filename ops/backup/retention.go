package backup

import (
	"fmt"
	"slices"
	"time"
)

// Policy says which backups are kept: those that any of its rules wants. The zero value has no rules.
type Policy struct {
	Count  int           // the newest
	Age    time.Duration // those younger
	Daily  int           // the newest of each of that many days, weeks and months, in UTC
	Weekly int
	// Monthly counts only months that have a backup, as Daily and Weekly do.
	Monthly int
	// Window is a promise: every moment from that long ago until now can be restored to. It keeps the newest backup
	// that is at least that old, from which the log leads through the whole window.
	Window time.Duration
}

// Empty says whether the policy has no rules.
func (p Policy) Empty() bool { return p == Policy{} }

// Decision is what a policy says of a backup.
type Decision struct {
	Head    Head     `json:"backup"`
	Keep    bool     `json:"keep"`
	Damaged bool     `json:"damaged,omitempty"` // it was read back, and found so
	Reason  []string `json:"reason"`            // of keeping it
}

// Decide applies a policy to the backups of one cluster, the oldest first. The newest sound one is always kept. Those that were found damaged,
// by ID, count for nothing: they take no sound one's place. They stay beside those that are kept, of which they are the younger,
// since there may be something to be had from them yet.
func (p Policy) Decide(heads []Head, damaged map[string]bool, now time.Time) []Decision {
	out := make([]Decision, len(heads))
	var sound []Head
	var at []int // of the sound ones, in out
	for i, h := range heads {
		out[i].Head, out[i].Damaged = h, damaged[h.ID]
		if !damaged[h.ID] {
			sound, at = append(sound, h), append(at, i)
		}
	}
	keep := func(i int, reason string) {
		out[at[i]].Keep = true
		out[at[i]].Reason = append(out[at[i]].Reason, reason)
	}
	p.keepSound(sound, now, keep)
	if n := len(sound) - 1; n >= 0 && !out[at[n]].Keep {
		keep(n, "the newest is never removed")
	}
	older := len(sound) == 0 // whether an older one is kept, or there is no sound one at all
	for i := range out {
		if d := &out[i]; d.Damaged && older {
			d.Keep, d.Reason = true, []string{"damaged: it counts for nothing, and goes once those that are older have gone"}
		}
		older = older || out[i].Keep
	}
	return out
}

// keepSound applies the rules.
func (p Policy) keepSound(heads []Head, now time.Time, keep func(i int, reason string)) {
	for i, h := range heads {
		if rank := len(heads) - i; rank <= p.Count {
			keep(i, fmt.Sprintf("newest %d", p.Count))
		}
		if p.Age > 0 && now.Sub(h.Stopped) < p.Age {
			keep(i, "younger than "+p.Age.String())
		}
	}
	for i := len(heads) - 1; i >= 0 && p.Window > 0; i-- {
		if now.Sub(heads[i].Stopped) >= p.Window || i == 0 {
			keep(i, "begins the recovery window of "+p.Window.String())
			break
		}
	}
	p.keepCalendar(heads, keep)
}

// DecideLogical applies a policy to logical backups, the oldest first: to those of each scope apart, so that a dump of one
// table doesn't take the place of one of everything. The recovery window isn't theirs to begin: it is an age here.
func (p Policy) DecideLogical(heads []Head, damaged map[string]bool, now time.Time) []Decision {
	p.Age, p.Window = max(p.Age, p.Window), 0
	var scopes []string
	byScope := map[string][]Head{}
	for _, h := range heads {
		s := h.Logical.Scope()
		if byScope[s] == nil {
			scopes = append(scopes, s)
		}
		byScope[s] = append(byScope[s], h)
	}
	out := []Decision{}
	for _, s := range scopes {
		out = append(out, p.Decide(byScope[s], damaged, now)...)
	}
	return out
}

// keepCalendar keeps the newest backup of the latest days, weeks and months.
func (p Policy) keepCalendar(heads []Head, keep func(int, string)) {
	for _, rule := range []struct {
		n      int
		name   string
		bucket func(time.Time) string
	}{
		{p.Daily, "daily", func(t time.Time) string { return t.Format(time.DateOnly) }},
		{p.Weekly, "weekly", func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-", w) }},
		{p.Monthly, "monthly", func(t time.Time) string { return t.Format("2006-01") }},
	} {
		var seen []string
		for i := len(heads) - 1; i >= 0; i-- {
			b := rule.bucket(heads[i].Stopped.UTC())
			if slices.Contains(seen, b) {
				continue
			}
			if len(seen) == rule.n {
				break
			}
			seen = append(seen, b)
			keep(i, rule.name+" "+b)
		}
	}
}
