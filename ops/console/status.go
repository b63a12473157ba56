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
	versions := map[string]bool{}
	for v := range want.Instances {
		versions[v] = true
	}
	restarts := map[string]int{}
	for n := range seen.Instances {
		i := &seen.Instances[n]
		versions[i.Release] = true
		restarts[i.Release] += i.Restarts
	}
	out := []ReleaseStatus{}
	for v := range versions {
		ready, _ := seen.Count(v)
		if _, known := points[v]; !known && points != nil {
			points[v] = Point{At: total.At, Measured: total.Measured}
		}
		out = append(out, ReleaseStatus{
			Version: v, Role: role(s, v), Weight: seen.Weights[v], Ready: ready, Wanted: want.Instances[v],
			Restarts: restarts[v], Traffic: points[v],
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
