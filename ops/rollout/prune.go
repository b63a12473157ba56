package rollout

import (
	"slices"
	"strings"
)

// Superfluous lists the releases that nothing needs any more, oldest first: those beyond the newest keep, without the ones that run
// or that a rollback may go to.
func Superfluous(s State, keep int) []string {
	needed := map[string]bool{s.Stable: true, s.Previous: true, before(s, s.Stable): true, before(s, s.Previous): true}
	if s.Warm != nil {
		needed[s.Warm.Version] = true
	}
	for r := s.Active; r != nil; r = r.Then {
		needed[r.From], needed[r.To], needed[before(s, r.From)] = true, true, true
	}
	all := make([]Release, 0, len(s.Releases))
	for _, r := range s.Releases {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Release) int {
		if c := a.AddedAt.Compare(b.AddedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Version, b.Version)
	})
	var out []string
	for _, r := range all[:max(0, len(all)-max(keep, 0))] {
		if !needed[r.Version] {
			out = append(out, r.Version)
		}
	}
	return out
}
