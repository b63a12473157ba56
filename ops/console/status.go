package console

import (
	"slices"
	"strings"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

// status is the service at a glance: what the journal says, and what is there beside it.
func (d *Desk) status() Status {
	s := d.Keeper.State()
	st := Status{
		Service: d.Info.Service, Environment: d.Info.Environment, Platform: d.Info.Platform, Version: d.Info.Version,
		PID: d.Info.PID, StartedAt: d.Info.StartedAt, At: d.now(), Seq: s.Seq,
		Stable: s.Stable, Previous: s.Previous, Rollout: s.Active, Incidents: s.Incidents.OpenOnes(),
		Weights: rollout.Wanted(s).Weights, Offline: d.Live == nil, Stopped: s.Stopped,
		Restores: s.Restores,
	}
	if d.Recovery != nil {
		st.Recovery = d.Recovery().Summary()
	}
	if n := len(s.History); n > 0 {
		st.Last = &s.History[n-1]
	}
	if st.Incidents == nil {
		st.Incidents = []health.Incident{}
	}
	if d.Live == nil {
		st.Releases = releaseStatuses(s, rollout.Snapshot{}, Point{}, nil)
		return st
	}
	seen := d.Live.Snapshot()
	total, points := d.Live.Points()
	if seen.Weights != nil {
		st.Weights = seen.Weights
	}
	st.Traffic, st.Health, st.Problems = total, seen.Health, d.Live.Problems()
	st.Releases = releaseStatuses(s, seen, total, points)
	if d.Burn != nil {
		st.Burn = d.Burn(st.At)
	}
	return st
}

// releaseStatuses lists the releases that run or are wanted: stable, candidate, warm, and those on their way out.
func releaseStatuses(s rollout.State, seen rollout.Snapshot, total Point, points map[string]Point) []ReleaseStatus {
	want := rollout.Wanted(s)
	there := tallies(seen.Instances)
	for v := range want.Instances {
		if there[v] == nil {
			there[v] = &tally{}
		}
	}
	out := []ReleaseStatus{}
	for v, t := range there {
		if _, known := points[v]; !known && points != nil {
			points[v] = Point{At: total.At, Measured: total.Measured}
		}
		out = append(out, ReleaseStatus{
			Version: v, Role: role(s, v), Weight: seen.Weights[v], Ready: t.ready, Wanted: want.Instances[v],
			Restarts: t.restarts, Traffic: points[v],
		})
	}
	slices.SortFunc(out, func(a, b ReleaseStatus) int {
		if a.Role != b.Role {
			return roleOrder[a.Role] - roleOrder[b.Role]
		}
		return strings.Compare(a.Version, b.Version)
	})
	return out
}

// tally is what a release's instances come to.
type tally struct{ ready, restarts int }

// tallies counts the instances of each release in one pass: there may be ten thousand, every second.
func tallies(all []rollout.Instance) map[string]*tally {
	out := map[string]*tally{}
	var release string
	var t *tally
	for n := range all {
		i := &all[n]
		if t == nil || i.Release != release { // those of one release come together
			if release, t = i.Release, out[i.Release]; t == nil {
				t = &tally{}
				out[release] = t
			}
		}
		t.restarts += i.Restarts
		if i.State == rollout.Ready {
			t.ready++
		}
	}
	return out
}

var roleOrder = map[Role]int{RoleStable: 0, RoleCandidate: 1, RoleWarm: 2, RoleLeaving: 3}

func role(s rollout.State, version string) Role {
	switch {
	case version == s.Stable:
		return RoleStable
	case s.Active != nil && s.Active.To == version:
		return RoleCandidate
	case s.Warm != nil && s.Warm.Version == version:
		return RoleWarm
	}
	return RoleLeaving
}

// seen are the instances as the platform lists them. The list must not be changed.
func (d *Desk) seen() []rollout.Instance {
	if d.Live == nil {
		return []rollout.Instance{}
	}
	return d.Live.Snapshot().Instances
}

// sorted are instances by their ids: the very list, where the platform keeps that order.
func sorted(all []rollout.Instance) []rollout.Instance {
	for n := 1; n < len(all); n++ {
		if all[n-1].ID > all[n].ID {
			all = slices.Clone(all)
			slices.SortFunc(all, func(a, b rollout.Instance) int { return strings.Compare(a.ID, b.ID) })
			break
		}
	}
	return all
}
