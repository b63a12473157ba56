package kube

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/rollout"
)

// workload is one of the two Deployments as it is.
type workload struct {
	version  string // the release in its template; empty where that is none Covet knows
	hash     string // of its template, bare
	replicas int    // asked for
	ready    int    // pods that may have traffic
	noted    int    // ready pods that the cluster's controllers have seen
	current  bool   // the controller has seen the newest spec
	complete bool   // all its pods are of its template and ready, and no others are left
	paused   bool
	held     bool          // by Covet, for a moment
	minReady time.Duration // a pod counts once it has been ready for so long
	failure  string        // why it cannot go on, in the controller's own words
	named    string        // the release that Covet named in its template, whatever has become of that
	theirs   bool          // somebody else has changed its template since Covet wrote it, or Covet never did
}

// layout is where the releases are, and where the traffic goes.
type layout struct {
	slots  map[string]workload // by slot; a slot that is not there is missing
	shares map[string]int      // the traffic's by slot, percent
	unsure bool                // Services or routes disagree: any slot may have traffic
	quiet  time.Duration       // since it moved last
	rest   bool                // nothing needs two Deployments, and nothing is kept warm
	back   string              // the release that the traffic is about to go back to, or empty
	need   int                 // instances that serve now, which whoever takes over must match
	weight int                 // the share that the candidate is about to have
	drain  time.Duration       // how long a Deployment stays after its traffic has gone
}

// live reports whether a slot has traffic, or may have.
func (l layout) live(slot string) bool { return l.unsure || l.shares[slot] > 0 }

// hosts lists the slots that hold a release, those with traffic first.
func (l layout) hosts(version string) []string {
	var out []string
	for _, slot := range slots {
		if w, ok := l.slots[slot]; ok && w.version == version {
			out = append(out, slot)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return l.shares[b] - l.shares[a] })
	return out
}

// move is one thing to be done to a Deployment.
type move struct {
	do      moveKind
	slot    string
	version string
	n       int
}

type moveKind string

const (
	put    moveKind = "put"    // give the slot's Deployment the release's template; make the Deployment where there is none
	scale  moveKind = "scale"  // ask for n replicas
	remove moveKind = "remove" // the Deployment is Covet's own, and nothing needs it
	home   moveKind = "home"   // all traffic to the slot, which holds the same release as the one that has it
)

// place decides what is to be done so that every release wanted has its instances. It is pure. The error says why a release
// has no place.
func place(l layout, want rollout.Desired) ([]move, error) {
	if l.rest && l.adrift() {
		return nil, nil // somebody else deploys: that is theirs to decide
	}
	if version, ok := l.undo(want); ok {
		return l.inPlace(version), nil
	}
	var out []move
	var lost []string
	for _, version := range sorted(want) {
		w := want[version]
		switch hosts := l.hosts(version); {
		case w.InPlace:
			out = append(out, l.inPlace(version)...)
		case len(hosts) == 0 && l.tampered(version):
			out = append(out, move{put, candidate, version, max(l.slots[candidate].replicas, l.wanted(version, w))})
		case len(hosts) == 0 && l.displaced(version, want):
			out = append(out, move{put, primary, version, l.slots[primary].replicas})
		case len(hosts) == 0:
			slot := l.free(want)
			if slot == "" {
				lost = append(lost, version)
				continue
			}
			out = append(out, move{put, slot, version, l.wanted(version, w)})
		default:
			out = append(out, l.sized(version, w, hosts)...)
		}
	}
	out = append(out, l.settle(want)...)
	if len(lost) > 0 {
		return out, fmt.Errorf("there is no place for %s: both Deployments are taken by releases that are still needed", strings.Join(lost, ", "))
	}
	return out, nil
}

func sorted(want rollout.Desired) []string {
	out := make([]string, 0, len(want))
	for v := range want {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// adrift reports whether the primary alone runs what somebody else put there.
func (l layout) adrift() bool {
	_, second := l.slots[candidate]
	return !second && l.slots[primary].theirs
}

// inPlace lets the Deployment that has the traffic become the release.
func (l layout) inPlace(version string) []move {
	slot := primary
	if l.shares[candidate] > l.shares[primary] {
		slot = candidate
	}
	if l.slots[slot].version == version {
		return nil
	}
	return []move{{put, slot, version, l.slots[slot].replicas}}
}

// tampered reports whether the second Deployment, which is Covet's own, was made for the release and changed by another since.
func (l layout) tampered(version string) bool {
	w, there := l.slots[candidate]
	return there && w.version == "" && w.named == version
}

// displaced reports whether the traffic is to go back to a release that somebody else has put another in the place of: whoever
// asked to go back overrules them, once.
func (l layout) displaced(version string, want rollout.Desired) bool {
	w, there := l.slots[primary]
	_, needed := want[w.version]
	return version == l.back && there && w.theirs && !needed
}

// undo is the release that a Deployment returns to which was left with another: a rolling update that could not be finished.
func (l layout) undo(want rollout.Desired) (string, bool) {
	_, second := l.slots[candidate]
	if second || !l.rest || len(want) != 1 {
		return "", false
	}
	version := sorted(want)[0]
	return version, len(l.hosts(version)) == 0
}

// free is the slot that nothing needs, or empty.
func (l layout) free(want rollout.Desired) string {
	for _, slot := range []string{candidate, primary} {
		w, there := l.slots[slot]
		if !there && slot == candidate {
			return slot
		}
		if _, needed := want[w.version]; there && !l.live(slot) && (!needed || len(l.hosts(w.version)) > 1) {
			return slot
		}
	}
	return ""
}

// wanted is how many instances a release that runs beside another must have: as planned, and enough for the traffic it is
// about to get where the other has grown since.
func (l layout) wanted(version string, w rollout.Want) int {
	n := w.Instances
	if version == l.back {
		return max(n, l.need)
	}
	return max(n, (l.need*l.weight+99)/100)
}

// sized sees to the number of instances. The primary's is its owner's business (a person's, an autoscaler's), but for one
// case: it is scaled up before the traffic goes back to it.
func (l layout) sized(version string, w rollout.Want, hosts []string) []move {
	slot := hosts[0]
	have, n := l.slots[slot], l.wanted(version, w)
	switch {
	case slot == candidate && have.replicas < n, slot == candidate && have.replicas > n && !l.live(slot):
		return []move{{scale, slot, version, n}}
	case slot == primary && version == l.back && have.replicas < n:
		return []move{{scale, slot, version, n}}
	}
	return nil
}

// settle brings the stable release home into the primary once it runs alone in the other Deployment, and removes that one when
// nothing needs it any more.
func (l layout) settle(want rollout.Desired) []move {
	second, there := l.slots[candidate]
	if !there {
		return nil
	}
	_, needed := want[second.version]
	first := l.slots[primary]
	if !l.live(candidate) {
		if (!needed || first.version == second.version) && l.quiet >= l.drain {
			return []move{{remove, candidate, second.version, 0}}
		}
		return nil
	}
	if !l.rest || !needed || len(want) != 1 || l.live(primary) {
		return nil
	}
	switch {
	case first.version != second.version:
		return []move{{put, primary, second.version, max(first.replicas, second.replicas)}}
	case first.replicas < second.replicas:
		return []move{{scale, primary, first.version, second.replicas}}
	case first.complete && first.ready >= min(second.ready, second.replicas):
		return []move{{home, primary, first.version, 0}}
	}
	return nil
}
