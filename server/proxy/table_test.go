package proxy

import (
	"fmt"
	"testing"
)

func TestSpreadIsExactAndEven(t *testing.T) {
	t.Parallel()
	for _, shares := range [][]int{{99, 1}, {90, 10}, {50, 50}, {75, 25}, {1, 99}, {33, 33, 34}, {100}, {0, 100}, {7, 0, 93}} {
		sequence := spread(shares)
		sum := 0
		for _, s := range shares {
			sum += s
		}
		seen := make([]int, len(shares))
		for n := range sum {
			seen[sequence[n%len(sequence)]]++
			for i, s := range shares {
				// After n+1 requests a release has had its share of them, give or take one.
				if diff := seen[i]*sum - s*(n+1); diff > sum || diff < -sum {
					t.Errorf("shares %v: after %d requests index %d has had %d", shares, n+1, i, seen[i])
				}
			}
		}
		for i, s := range shares {
			if seen[i] != s {
				t.Errorf("shares %v: index %d got %d of %d", shares, i, seen[i], sum)
			}
		}
	}
}

func TestSpreadOfNothing(t *testing.T) {
	t.Parallel()
	if s := spread(nil); len(s) != 0 {
		t.Errorf("nobody gets %v", s)
	}
	if s := spread([]int{0, 0}); len(s) != 2 || s[0] == s[1] {
		t.Errorf("two without a share get %v, want each once", s)
	}
}

func instances(release string, n int) (ins []*instance) {
	o := Options{}.Normalize()
	for i := range n {
		ins = append(ins, newInstance(Target{ID: fmt.Sprintf("%s-%d", release, i), Release: release}, &o))
	}
	return ins
}

func TestShareOfAReleaseThatIsNotReadyGoesToTheOthers(t *testing.T) {
	t.Parallel()
	weights := map[string]int{"v1": 60, "v2": 30, "v3": 10}
	tb := newTable(append(instances("v2", 1), instances("v3", 2)...), weights, "")
	got := make(map[string]int)
	for n := range uint64(40) {
		got[tb.pick(n, false, false, nil).in.Release]++
	}
	if got["v2"] != 30 || got["v3"] != 10 {
		t.Errorf("of 40 requests v2 and v3 got %v, want 30 and 10", got)
	}
}

func TestReleaseWithoutWeightServesOnlyAsTheLastResort(t *testing.T) {
	t.Parallel()
	stable, candidate := instances("v1", 1), instances("v2", 1)
	weights := map[string]int{"v1": 100}
	both := newTable(append(stable, candidate...), weights, "v2")
	for n := range uint64(100) {
		if in := both.pick(n, false, false, nil).in; in != stable[0] {
			t.Fatalf("request %d went to %s", n, in.ID)
		}
	}
	if in := newTable(candidate, weights, "v2").pick(0, false, false, nil).in; in != candidate[0] {
		t.Errorf("with the candidate alone ready nobody serves: %v", in)
	}
}

func TestCanaryGoesToTheCandidateWhileItIsReady(t *testing.T) {
	t.Parallel()
	stable, candidate := instances("v1", 1), instances("v2", 1)
	weights := map[string]int{"v1": 100}
	if c := newTable(append(stable, candidate...), weights, "v2").pick(0, true, false, nil); c.in != candidate[0] || c.missed {
		t.Errorf("got %+v, want the candidate", c)
	}
	if c := newTable(stable, weights, "v2").pick(0, true, false, nil); c.in != stable[0] || !c.missed {
		t.Errorf("got %+v, want the stable one and missed", c)
	}
	if c := newTable(stable, weights, "").pick(0, true, false, nil); c.in != stable[0] || c.missed {
		t.Errorf("got %+v, want the stable one: there is no candidate to miss", c)
	}
}

func TestLeastLoadedWithinARelease(t *testing.T) {
	t.Parallel()
	ins := instances("v1", 3)
	tb := newTable(ins, nil, "")
	got := make(map[*instance]int)
	for n := range uint64(30) {
		got[tb.pick(n, false, false, nil).in]++
	}
	for _, in := range ins {
		if got[in] != 10 {
			t.Errorf("of 30 requests among equals %s got %d", in.ID, got[in])
		}
	}
	ins[0].inFlight.Add(2)
	ins[1].inFlight.Add(1)
	ins[2].inFlight.Add(2)
	if in := tb.pick(0, false, false, nil).in; in != ins[1] {
		t.Errorf("%s was chosen, not the least loaded", in.ID)
	}
	ins[1].down.Store(true)
	if in := tb.pick(0, false, false, nil).in; in == ins[1] {
		t.Error("one that could not be reached was preferred")
	}
	ins[1].down.Store(false)
	ins[0].upgraded.Add(1)
	ins[1].upgraded.Add(1)
	if in := tb.pick(0, false, true, nil).in; in != ins[2] {
		t.Errorf("an upgrade went to %s, not to the one with fewest upgraded connections", in.ID)
	}
	if in := tb.pick(0, false, false, ins[:2]).in; in != ins[2] {
		t.Errorf("%s was chosen although it had failed the request", in.ID)
	}
	if in := tb.pick(0, false, false, ins).in; in != nil {
		t.Errorf("%s was chosen although all had failed the request", in.ID)
	}
}
