package kube

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/rollout"
)

func wants(n int, versions ...string) rollout.Desired {
	d := rollout.Desired{}
	for _, v := range versions {
		d[v] = rollout.Want{Instances: n}
	}
	return d
}

func TestPlace(t *testing.T) {
	t.Parallel()
	slot := func(version string, n int) workload {
		return workload{version: version, replicas: n, ready: n, complete: true, current: true}
	}
	two := func(first, second workload) map[string]workload {
		return map[string]workload{primary: first, candidate: second}
	}
	onPrimary, onCandidate := map[string]int{primary: 100}, map[string]int{candidate: 100}
	for name, c := range map[string]struct {
		l    layout
		want rollout.Desired
		out  []move
		err  string
	}{
		"at rest nothing is touched, whatever the replicas": {
			layout{slots: map[string]workload{primary: slot("v1", 7)}, shares: onPrimary, rest: true}, wants(4, "v1"), nil, ""},
		"what somebody else deployed is left alone": {
			layout{slots: map[string]workload{primary: {version: "", replicas: 4, theirs: true}}, shares: onPrimary, rest: true}, wants(4, "v1"), nil, ""},
		"be it a release that is known": {
			layout{slots: map[string]workload{primary: {version: "v0", replicas: 4, theirs: true}}, shares: onPrimary, rest: true}, wants(4, "v1"), nil, ""},
		"what a rollback left unfinished is undone where it is": {
			layout{slots: map[string]workload{primary: slot("v0", 4)}, shares: onPrimary, rest: true}, wants(4, "v1"), []move{{put, primary, "v1", 4}}, ""},
		"a candidate gets a Deployment of its own": {
			layout{slots: map[string]workload{primary: slot("v1", 4)}, shares: onPrimary, need: 4, weight: 10},
			rollout.Desired{"v1": {Instances: 4}, "v2": {Instances: 1}}, []move{{put, candidate, "v2", 1}}, ""},
		"a candidate is sized by what serves now, not by what did when it was planned": {
			layout{slots: two(slot("v1", 10), slot("v2", 2)), shares: onPrimary, need: 10, weight: 50},
			rollout.Desired{"v1": {Instances: 4}, "v2": {Instances: 2}}, []move{{scale, candidate, "v2", 5}}, ""},
		"a rolling update happens where the traffic is": {
			layout{slots: map[string]workload{primary: slot("v1", 4)}, shares: onPrimary},
			rollout.Desired{"v2": {Instances: 4, InPlace: true}}, []move{{put, primary, "v2", 4}}, ""},
		"an autoscaler shrank the stable release: it grows before the traffic returns": {
			layout{slots: two(slot("v1", 1), slot("v2", 6)), shares: onCandidate, need: 6, weight: 100, back: "v1"},
			wants(4, "v1", "v2"), []move{{scale, primary, "v1", 6}}, ""},
		"it is not scaled up for a rollout that goes forward": {
			layout{slots: two(slot("v1", 1), slot("v2", 6)), shares: onCandidate, need: 6, weight: 100},
			wants(4, "v1", "v2"), nil, ""},
		"nothing with traffic is scaled down": {
			layout{slots: two(slot("v1", 4), slot("v2", 6)), shares: onCandidate, need: 2}, wants(2, "v2", "v1"), nil, ""},
		"the old set stays through its drain": {
			layout{slots: two(slot("v1", 4), slot("v2", 4)), shares: onPrimary, quiet: time.Second, drain: 30 * time.Second}, wants(4, "v1"), nil, ""},
		"and goes after it": {
			layout{slots: two(slot("v1", 4), slot("v2", 4)), shares: onPrimary, quiet: time.Minute, drain: 30 * time.Second}, wants(4, "v1"),
			[]move{{remove, candidate, "v2", 0}}, ""},
		"the new stable release comes home": {
			layout{slots: two(slot("v1", 4), slot("v2", 6)), shares: onCandidate, rest: true}, wants(4, "v2"), []move{{put, primary, "v2", 6}}, ""},
		"with as many instances": {
			layout{slots: two(slot("v2", 4), slot("v2", 6)), shares: onCandidate, rest: true}, wants(4, "v2"), []move{{scale, primary, "v2", 6}}, ""},
		"not before they are ready": {
			layout{slots: two(workload{version: "v2", replicas: 6, ready: 2}, slot("v2", 6)), shares: onCandidate, rest: true}, wants(4, "v2"), nil, ""},
		"then the traffic follows": {
			layout{slots: two(slot("v2", 6), slot("v2", 6)), shares: onCandidate, rest: true}, wants(4, "v2"), []move{{home, primary, "v2", 0}}, ""},
		"a third release while both are needed has no place": {
			layout{slots: two(slot("v1", 4), slot("v2", 4)), shares: map[string]int{primary: 90, candidate: 10}}, wants(4, "v1", "v2", "v3"), nil, "no place for v3"},
		"the next candidate takes the primary while the stable release is away from it": {
			layout{slots: two(slot("v1", 4), slot("v2", 4)), shares: onCandidate}, rollout.Desired{"v2": {Instances: 4}, "v3": {Instances: 1}},
			[]move{{put, primary, "v3", 1}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := place(c.l, c.want)
			if !reflect.DeepEqual(got, c.out) || (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, %v; want %v, %q", got, err, c.out, c.err)
			}
		})
	}
}
