package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/rollout"
)

// sight makes of what is watched what the engine wants to know.
type sight struct {
	stage *stage
	state func() rollout.State

	mu     sync.Mutex
	hashes map[string]string // of ReplicaSets' templates, by UID: they never change
	quiet  map[string]time.Time
}

// drainFor is how long a Deployment stays after its traffic has gone: load balancers and open connections need a moment.
const drainFor = 5 * time.Second

// versionOf is the release whose template has the hash. Where several have, the one that is named, or the stable one.
func versionOf(s rollout.State, hash, named string) string {
	var found []string
	for v, r := range s.Releases {
		if w := r.Manifest.Workload; w != nil && (w.Template == hash || w.Rendered == hash) {
			found = append(found, v)
		}
	}
	switch {
	case len(found) == 0:
		return ""
	case slices.Contains(found, named):
		return named
	case slices.Contains(found, s.Stable):
		return s.Stable
	}
	return slices.Min(found)
}

// workload is one Deployment as it is.
func (g *sight) workload(s rollout.State, o object, pods []*pod, slot string) workload {
	t := templateOf(o)
	w := workload{hash: t.hash(), replicas: 1, named: t.version()}
	w.version = versionOf(s, w.hash, t.version())
	m, marked := markOf(o.GetAnnotations())
	if marked && w.version == "" && m.Hash == w.hash {
		w.version = t.version() // an admission webhook added to what was written
	}
	w.theirs = (!marked || m.Hash != w.hash) && (w.version == "" || w.version != s.Stable)
	if n, there, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); there {
		w.replicas = int(n)
	}
	w.paused, _, _ = unstructured.NestedBool(o.Object, "spec", "paused")
	w.held = o.GetAnnotations()[annPaused] != ""
	status := func(field string) int64 {
		n, _, _ := unstructured.NestedInt64(o.Object, "status", field)
		return n
	}
	w.current = status("observedGeneration") >= o.GetGeneration()
	n := int64(w.replicas)
	w.complete = w.current && status("replicas") == n && status("updatedReplicas") == n && status("readyReplicas") == n
	w.noted = int(status("readyReplicas"))
	w.minReady = minReady(o)
	for _, p := range pods {
		if slotOf(p) == slot && p.readyFor(now()) >= w.minReady {
			w.ready++
		}
	}
	if w.current {
		w.failure = failureOf(o)
	}
	return w
}

func slotOf(p *pod) string {
	if p.slot == candidate {
		return candidate
	}
	return primary
}

// minReady is how long a pod must have been ready before it counts.
func minReady(o object) time.Duration {
	n, _, _ := unstructured.NestedInt64(o.Object, "spec", "minReadySeconds")
	return time.Duration(n) * time.Second
}

// failureOf is why the Deployment's controller cannot go on.
func failureOf(o object) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var out []string
	for _, item := range list {
		c, ok := item.(map[string]any)
		if !ok {
			continue
		}
		failing := text(c, "type") == "ReplicaFailure" && text(c, "status") == "True" ||
			text(c, "type") == "Progressing" && text(c, "status") == "False" && text(c, "reason") == "ProgressDeadlineExceeded"
		if failing {
			out = append(out, text(c, "reason")+": "+text(c, "message"))
		}
	}
	return strings.Join(out, "; ")
}

// layout is where the releases are, and where the traffic goes.
func (g *sight) layout(now time.Time) layout {
	s := g.state()
	pods := g.stage.pods.all()
	l := layout{slots: map[string]workload{}, drain: drainFor, rest: atRest(s)}
	for _, slot := range slots {
		if o, ok := g.stage.deployment(slot); ok {
			l.slots[slot] = g.workload(s, o, pods, slot)
		}
	}
	l.shares = g.shares(l)
	l.unsure = len(l.shares) == 0
	l.quiet = g.quietFor(l, now)
	l.back, l.weight = heading(s)
	for slot, w := range l.slots {
		if l.live(slot) {
			l.need = max(l.need, w.ready)
		}
	}
	if r := s.Active; r != nil && r.Tuning.Instances > 0 && l.back == "" {
		l.need = min(l.need, r.Tuning.Instances)
	}
	return l
}

// atRest reports whether nothing needs two Deployments: no rollout is under way, or the one that is waits for that.
func atRest(s rollout.State) bool {
	return s.Warm == nil && (s.Active == nil || s.Active.Settle)
}

// heading is where the rollout under way takes the traffic: back to a release, or a share of it forward.
func heading(s rollout.State) (back string, weight int) {
	r := s.Active
	switch {
	case r == nil, r.Settle:
		return "", 0
	case r.Phase == rollout.Aborting:
		return r.From, 0
	case r.Purpose == rollout.Rollback:
		return r.To, r.Current().Weight
	}
	return "", max(r.Weight, r.Current().Weight)
}

// quietFor is how long the candidate's slot has had no traffic, as far as this program has seen.
func (g *sight) quietFor(l layout, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.quiet == nil {
		g.quiet = map[string]time.Time{}
	}
	if l.live(candidate) || g.reached(candidate) {
		delete(g.quiet, candidate)
		return 0
	}
	since, known := g.quiet[candidate]
	if !known {
		g.quiet[candidate] = now
		return 0
	}
	return now.Sub(since)
}

// reached reports whether EndpointSlices still lead from the Services to pods of a slot: they follow a selector with a delay.
func (g *sight) reached(slot string) bool {
	mine := map[string]bool{}
	for _, f := range g.stage.fronts() {
		mine[f.Name] = true
	}
	for _, e := range g.stage.endpoints.all() {
		if !mine[e.service] {
			continue
		}
		for _, name := range slices.Concat(e.behind, e.unready) {
			if p, ok := g.stage.pods.get(name); ok && slotOf(p) == slot && !p.deleting {
				return true
			}
		}
	}
	return false
}

// shares reads back what is in force. Where the Services or the routes disagree it is empty: something is to be set.
func (g *sight) shares(l layout) map[string]int {
	fronts := g.stage.fronts()
	if len(fronts) == 0 {
		return map[string]int{primary: 100}
	}
	slot := frontSlot(fronts[0])
	for _, f := range fronts[1:] {
		if frontSlot(f) != slot {
			return map[string]int{}
		}
	}
	share, ok := g.routed()
	if !ok {
		return map[string]int{}
	}
	_, two := l.slots[candidate]
	if slot == openFront {
		if two {
			share = markedShare(fronts[0])
		} else {
			share = 0
		}
		slot = primary
	}
	out := map[string]int{slot: 100 - share, other(slot): share}
	maps.DeleteFunc(out, func(_ string, n int) bool { return n == 0 })
	return out
}

func other(slot string) string {
	if slot == primary {
		return candidate
	}
	return primary
}

// markedShare is what an open Service gives the candidate, by the number of its instances.
func markedShare(f *corev1.Service) int {
	n := 0
	if _, err := fmt.Sscanf(f.Annotations[annTraffic], "%d", &n); err != nil {
		return 50
	}
	return n
}

// routed is the share that routes give to the second Service. They must agree, and be as Covet left them.
func (g *sight) routed() (share int, ok bool) {
	share = -1
	for _, r := range g.stage.myRoutes() {
		n := 0
		if m, marked := markOf(r.object.GetAnnotations()); marked {
			if m.Hash != digest(r.list()) {
				return 0, false
			}
			n = m.Share
		}
		if share >= 0 && n != share {
			return 0, false
		}
		share = n
	}
	return max(share, 0), true
}

// weights turns shares of slots into shares of releases. A Deployment in the middle of an update has two of them.
func (g *sight) weights(l layout) rollout.Weights {
	out := rollout.Weights{}
	for slot, share := range l.shares {
		w, ok := l.slots[slot]
		if !ok {
			continue
		}
		for version, part := range g.mixture(slot, w) {
			out[version] += share * part / 100
		}
	}
	delete(out, "")
	sum, most := 0, ""
	for _, v := range slices.Sorted(maps.Keys(out)) {
		sum += out[v]
		if most == "" || out[v] > out[most] {
			most = v
		}
	}
	if most != "" {
		out[most] += 100 - sum
	}
	return out
}

// mixture is the share of each release among a Deployment's ready pods.
func (g *sight) mixture(slot string, w workload) map[string]int {
	counts, total := map[string]int{}, 0
	version := g.versions()
	for _, p := range g.stage.pods.all() {
		if slotOf(p) == slot && p.ready {
			counts[version(p)]++
			total++
		}
	}
	if total == 0 || len(counts) == 1 && counts[w.version] > 0 && w.current {
		return map[string]int{w.version: 100}
	}
	out := map[string]int{}
	for v, n := range counts {
		out[v] = max(1, 100*n/total)
	}
	return out
}

// unrecorded is how pods are named that run what Covet does not know.
const unrecorded = "unrecorded"

// versions tells the release of every pod as things are now, and finds it once for all pods of a ReplicaSet.
func (g *sight) versions() func(*pod) string {
	type kind struct{ owner, named string }
	s, known := g.state(), map[kind]string{}
	var last kind // those of a ReplicaSet come together
	var version string
	return func(p *pod) string {
		k := kind{p.owner, p.named}
		if k == last && len(known) > 0 {
			return version
		}
		v, ok := known[k]
		if !ok {
			v = g.versionIn(s, p)
			known[k] = v
		}
		last, version = k, v
		return v
	}
}

// versionOfPod is the release that a pod runs.
func (g *sight) versionOfPod(p *pod) string { return g.versionIn(g.state(), p) }

func (g *sight) versionIn(s rollout.State, p *pod) string {
	set, ok := g.stage.sets.get(p.owner)
	if !ok {
		return p.named
	}
	hash := g.hashOf(set)
	if v := versionOf(s, hash, p.named); v != "" {
		return v
	}
	if m, ok := markOf(set.GetAnnotations()); ok && m.Hash == hash {
		return p.named
	}
	return ""
}

func (g *sight) hashOf(set object) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hashes == nil {
		g.hashes = map[string]string{}
	}
	uid := string(set.GetUID())
	if h, ok := g.hashes[uid]; ok {
		return h
	}
	h := templateOf(set).hash()
	g.hashes[uid] = h
	return h
}

// instances lists the pods, and what should be a pod and is not.
func (g *sight) instances(l layout) []rollout.Instance {
	all, versions, at := g.stage.pods.all(), g.versions(), now()
	out := make([]rollout.Instance, 0, len(all)+len(slots))
	pods := map[string]int{} // by slot, of the template's own release
	for _, p := range all {
		version := versions(p)
		slot := slotOf(p)
		if version == l.slots[slot].version {
			pods[slot]++
		}
		i := p.instance(version)
		if least := l.slots[slot].minReady; i.State == rollout.Ready && version == l.slots[slot].version && p.readyFor(at) < least {
			i.State, i.Reason = rollout.Starting, fmt.Sprintf("it is ready, and counts once it has been for %s (minReadySeconds)", least)
		}
		if f := l.slots[slot].failure; f != "" && version == l.slots[slot].version && (i.State == rollout.Starting || i.State == rollout.BackOff) {
			i.Reason, i.StartFailures = i.Reason+" ("+f+")", max(i.StartFailures, 2)
		}
		if version == "" {
			i.Release = unrecorded
		}
		out = append(out, i)
	}
	var missing []rollout.Instance
	for _, slot := range slots {
		if i, ok := absent(l.slots[slot], pods[slot], g.nameOf(slot)); ok {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return out
	}
	return append(missing, out...) // what is there has more to tell than what is not, and the last one is told of
}

func (g *sight) nameOf(slot string) string {
	if slot == candidate {
		return second(g.stage.at.Deployment)
	}
	return g.stage.at.Deployment
}

// absent stands for the pods that a Deployment should have and has not, so that they are waited for, and not for ever.
func absent(w workload, pods int, name string) (rollout.Instance, bool) {
	if w.version == "" || pods >= w.replicas {
		return rollout.Instance{}, false
	}
	i := rollout.Instance{ID: name + "-(missing)", Release: w.version, State: rollout.Starting,
		Reason: fmt.Sprintf("%d of %d pods have not been created yet", w.replicas-pods, w.replicas)}
	if w.paused {
		i.Reason += ": the Deployment is paused"
	}
	if w.failure != "" {
		i.State, i.Reason, i.StartFailures = rollout.BackOff, w.failure, 2
	}
	return i, true
}
