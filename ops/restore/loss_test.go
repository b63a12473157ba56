package restore

import (
	"strings"
	"testing"
	"time"
)

// The loss is counted against the server where it answers, and against the archive where it doesn't: which, is said.
func TestLoss(t *testing.T) {
	t.Parallel()
	p, err := newWorld(9, 2).plan(Target{Kind: AtTime, Time: minute(5.5)}, "")
	if err != nil {
		t.Fatal(err)
	}
	end, later := p.archivedTo, p.archivedTo+1
	now := p.Newest.Time.Add(10 * time.Minute)
	next := uint64(1)<<32 + uint64(p.Newest.XID) + 1 // of a later epoch
	for name, c := range map[string]struct {
		live *Live
		want time.Duration
		says string
	}{
		"nobody was asked":               {nil, 4 * time.Minute, "newest transaction in the archive"},
		"it does not answer":             {&Live{Problem: "refused"}, 4 * time.Minute, "does not say what it has: refused"},
		"it has written more":            {&Live{LSN: later, Clock: now, NextXID: next + 1, Quiet: true}, 14 * time.Minute, "not in the archive yet"},
		"a transaction is under way":     {&Live{LSN: later, Clock: now, NextXID: next}, 14 * time.Minute, "not in the archive yet"},
		"it has written, but no more":    {&Live{LSN: later, Clock: now, NextXID: next, Quiet: true}, 4 * time.Minute, "all that it has committed is in the archive"},
		"all that it wrote was archived": {&Live{LSN: end, Clock: now, NextXID: next + 7}, 4 * time.Minute, "all that it has committed is in the archive"},
	} {
		p.Live = c.live
		if got := p.Loss(); got != c.want || !strings.Contains(p.LossBasis(), c.says) {
			t.Errorf("%s: %s %s", name, got, p.LossBasis())
		}
	}
}
