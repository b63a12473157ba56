package backup

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)

// everySixHours makes n backups, the newest an hour before noon, the oldest first.
func everySixHours(n int) []Head {
	var hs []Head
	for i := range n {
		hs = append(hs, Head{ID: noon.Add(-time.Hour - time.Duration(n-1-i)*6*time.Hour).Format("0102T15"), Stopped: noon.Add(-time.Hour - time.Duration(n-1-i)*6*time.Hour)})
	}
	return hs
}

func kept(ds []Decision) []string {
	var ids []string
	for _, d := range ds {
		if d.Keep {
			ids = append(ids, d.Head.ID)
		}
	}
	return ids
}

func TestPolicyDecide(t *testing.T) {
	t.Parallel()
	heads := everySixHours(200) // back to 2026-02-09
	for name, c := range map[string]struct {
		p    Policy
		want []string
	}{
		"nothing":  {Policy{}, []string{"0331T11"}},
		"count":    {Policy{Count: 3}, []string{"0330T23", "0331T05", "0331T11"}},
		"age":      {Policy{Age: 12 * time.Hour}, []string{"0331T05", "0331T11"}},
		"daily":    {Policy{Daily: 3}, []string{"0329T23", "0330T23", "0331T11"}},
		"weekly":   {Policy{Weekly: 2}, []string{"0329T23", "0331T11"}},
		"monthly":  {Policy{Monthly: 5}, []string{"0228T23", "0331T11"}},
		"window":   {Policy{Window: 24 * time.Hour}, []string{"0330T11", "0331T11"}},
		"together": {Policy{Count: 1, Daily: 2, Monthly: 2}, []string{"0228T23", "0330T23", "0331T11"}},
	} {
		if got := kept(c.p.Decide(heads, nil, noon)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := (Policy{Count: 1}).Decide(nil, nil, noon); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// A backup that was found damaged takes no sound one's place, and goes with those that are older.
func TestPolicyDoesNotCountTheDamaged(t *testing.T) {
	t.Parallel()
	heads := everySixHours(6) // 0330T05 to 0331T11
	for name, c := range map[string]struct {
		p       Policy
		damaged []string
		want    []string
	}{
		"the newest":         {Policy{Count: 1}, []string{"0331T11"}, []string{"0331T05", "0331T11"}},
		"the newest three":   {Policy{Count: 1}, []string{"0330T23", "0331T05", "0331T11"}, []string{"0330T17", "0330T23", "0331T05", "0331T11"}},
		"an old one":         {Policy{Count: 2}, []string{"0330T11"}, []string{"0331T05", "0331T11"}},
		"one in the middle":  {Policy{Count: 3}, []string{"0331T05"}, []string{"0330T17", "0330T23", "0331T05", "0331T11"}},
		"the window's":       {Policy{Window: 12 * time.Hour}, []string{"0330T23"}, []string{"0330T17", "0330T23", "0331T11"}},
		"without any rule":   {Policy{}, []string{"0331T11"}, []string{"0331T05", "0331T11"}},
		"all of them":        {Policy{Count: 1}, []string{"0330T05", "0330T11", "0330T17", "0330T23", "0331T05", "0331T11"}, []string{"0330T05", "0330T11", "0330T17", "0330T23", "0331T05", "0331T11"}},
		"the newest of days": {Policy{Daily: 2}, []string{"0330T23"}, []string{"0330T17", "0330T23", "0331T11"}},
	} {
		damaged := map[string]bool{}
		for _, id := range c.damaged {
			damaged[id] = true
		}
		if got := kept(c.p.Decide(heads, damaged, noon)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Whatever the other rules say, the log from some kept backup covers the promised window; and where backups don't reach
// back that far, the oldest stays.
func TestPolicyKeepsTheWindow(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		var heads []Head
		at := noon
		for range 1 + rnd.IntN(30) {
			at = at.Add(-time.Duration(rnd.Int64N(int64(72 * time.Hour))))
			heads = append(heads, Head{Stopped: at})
		}
		slices.Reverse(heads)
		p := Policy{Count: rnd.IntN(4), Daily: rnd.IntN(4), Weekly: rnd.IntN(3), Window: time.Duration(1 + rnd.Int64N(int64(400*time.Hour)))}
		ds := p.Decide(heads, nil, noon)
		if !ds[len(ds)-1].Keep {
			t.Fatalf("%+v removes the newest", p)
		}
		first := slices.IndexFunc(ds, func(d Decision) bool { return d.Keep })
		if start := ds[first].Head.Stopped; start.After(noon.Add(-p.Window)) && first != 0 {
			t.Fatalf("%+v: the oldest kept is of %s, though the window begins %s", p, start, noon.Add(-p.Window))
		}
	}
}
