package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// Survey implements console.Surveyor. It asks the API server for everything that could stand in the way before anything is
// touched.
func (p *Port) Survey(ctx context.Context, s rollout.State, r rollout.Rollout) (console.Survey, error) {
	v := surveyor{port: p, state: s, r: r, l: p.sight.layout(now())}
	first, ok := p.stage.deployment(primary)
	if !ok || s.Releases[r.To].Manifest.Workload == nil {
		return console.Survey{Refusals: []string{"there is no Deployment to put it into"}}, nil
	}
	v.first = first
	rec, err := p.record(ctx, s.Releases[r.To])
	if err != nil {
		return v.out, err
	}
	v.template = rec.rendered()
	others := make(chan []string, 1)
	go func() { others <- p.client.rivalsOf(ctx, first.GetName()) }()
	v.settles()
	v.howTraffic()
	v.howItRuns(rec)
	v.ends()
	v.scaling()
	if err := v.allowed(ctx, rec); err != nil {
		return v.out, err
	}
	v.dryRun(ctx, rec)
	v.quota(ctx)
	v.budget(ctx)
	v.judgement(ctx)
	v.out.Refusals = append(v.out.Refusals, <-others...)
	if who := upstream(first); who != "" {
		v.note("%s applies Deployment %s from elsewhere: change the image there too, or its next run takes this back", who, first.GetName())
	}
	v.forgets()
	v.differences(ctx)
	for _, w := range p.client.warnings.all() {
		v.note("the API server warns: %s", w)
	}
	return v.out, nil
}

// record is a release's record, kept or only found.
func (p *Port) record(ctx context.Context, r rollout.Release) (record, error) {
	name := r.Manifest.Workload.Record
	p.mu.Lock()
	drafts := p.ledger.drafts
	p.mu.Unlock()
	for _, d := range drafts {
		if d.name(p.at.Deployment) == name {
			return d.record, nil
		}
	}
	return p.records.get(ctx, name)
}

// surveyor collects what is to be said of a rollout.
type surveyor struct {
	port     *Port
	state    rollout.State
	r        rollout.Rollout
	l        layout
	first    object
	template podTemplate
	out      console.Survey
}

func (v *surveyor) note(format string, args ...any) {
	v.out.Notes = append(v.out.Notes, fmt.Sprintf(format, args...))
}

func (v *surveyor) refuse(format string, args ...any) {
	v.out.Refusals = append(v.out.Refusals, fmt.Sprintf(format, args...))
}

// beside reports whether the rollout needs two releases side by side.
func (v *surveyor) beside() bool { return !v.r.InPlace }

// settles lists what comes before the first step: what the rollout before has left in the way.
func (v *surveyor) settles() {
	if !v.r.Settle {
		return
	}
	name, aside, stable := v.first.GetName(), second(v.first.GetName()), v.state.Stable
	step := func(d time.Duration, touches, format string, args ...any) {
		v.out.First = append(v.out.First, console.PlanStep{Do: "first: " + fmt.Sprintf(format, args...), Touches: touches, Duration: journal.Duration(d)})
	}
	if w := v.state.Warm; w != nil {
		step(0, w.Version, "let go of %s, which is kept warm", w.Version)
	}
	if v.l.live(candidate) {
		step(settleGuess, stable, "bring %s home: Deployment %s takes it over, and the traffic follows once its instances are ready", stable, name)
	}
	step(drainFor, aside, "remove Deployment %s when it has had no traffic for %s, and hand the Service's selector back", aside, drainFor)
}

// settleGuess is what starting pods is taken to last, for a plan's expected duration.
const settleGuess = 5 * time.Second

// howTraffic says what moves the traffic, and how exactly.
func (v *surveyor) howTraffic() {
	by := v.port.trafficBy()
	fronts := v.port.stage.fronts()
	if v.beside() && len(fronts) == 0 {
		v.refuse("no Service in namespace %s selects the pods of Deployment %s, so nothing can split its traffic: choose --strategy rolling", v.port.at.Namespace, v.first.GetName())
		return
	}
	if asked := v.port.at.Router; asked != "" && !strings.EqualFold(asked, routerService) && len(v.port.stage.myRoutes()) == 0 && v.beside() {
		v.refuse("router %s was asked for, and none leads to the Services of Deployment %s", asked, v.first.GetName())
	}
	switch {
	case v.r.InPlace:
		v.note("Kubernetes replaces the pods itself, by the Deployment's own rolling update; the traffic follows the pods that are ready")
	case len(v.port.stage.myRoutes()) > 0:
		v.note("%s splits the traffic by weight; requests with %s: %s always go to the candidate", by, canaryHeader, canaryValue)
	case v.r.Strategy == rollout.Canary && v.r.Purpose == rollout.Deploy:
		v.note("neither an HTTPRoute nor a VirtualService leads to %s: the traffic is split by the number of instances: %s. No header can choose the candidate", by, ratios(v.r, serving(v.l)))
	default:
		v.note("%s is switched in one write, once the new instances are ready; until then its selector is narrowed to the old ones", by)
	}
	if len(fronts) > 1 {
		names := make([]string, 0, len(fronts))
		for _, f := range fronts {
			names = append(names, f.Name)
		}
		v.note("%d Services select these pods, and move together: %s", len(fronts), strings.Join(names, ", "))
	}
	if w := v.l.slots[primary]; v.beside() && !v.l.slots[primary].complete && v.l.live(primary) {
		v.refuse("Deployment %s is in the middle of an update of its own (%d of %d instances are ready): wait for it, or undo it with covetctl rollback", v.first.GetName(), w.ready, w.replicas)
	}
}

// ratios is what the steps of a canary come to where only the number of instances splits the traffic.
func ratios(r rollout.Rollout, stable int) string {
	var parts []string
	for _, s := range r.Steps {
		if s.Weight < 100 {
			parts = append(parts, fmt.Sprintf("%d%% is %d of %d, really %d%%", s.Weight, s.Candidate, s.Candidate+stable, 100*s.Candidate/max(s.Candidate+stable, 1)))
		}
	}
	return strings.Join(parts, "; ")
}

// howItRuns says what is unusual about the Deployment and the release.
func (v *surveyor) howItRuns(rec record) {
	n := v.l.slots[primary].replicas
	surge, unavailable := budgetOf(v.first, n)
	kind, _, _ := unstructured.NestedString(v.first.Object, "spec", "strategy", "type")
	switch {
	case v.r.InPlace && kind == "Recreate":
		v.note("Deployment %s has the strategy Recreate: all old pods end before new ones begin, so the service is DOWN meanwhile; --strategy blue-green avoids that", v.first.GetName())
	case v.r.InPlace:
		v.note("with %d replicas, maxSurge makes %d more and maxUnavailable lets %d be missing: at least %d serve at any time", n, surge, unavailable, n-unavailable)
	}
	if v.l.slots[primary].paused {
		v.note("Deployment %s is paused: it is let go in the same write that changes it", v.first.GetName())
	}
	switch {
	case n == 0 && v.beside() && v.r.Purpose == rollout.Deploy && !v.l.live(candidate):
		v.refuse("Deployment %s is scaled to 0, so there is no traffic to move: choose --strategy rolling", v.first.GetName())
	case n == 0:
		v.note("Deployment %s is scaled to 0: nothing serves", v.first.GetName())
	}
	for _, name := range slices.Sorted(mapKeys(rec.Template.images())) {
		if image := rec.workload("").Images[name]; digestOf(image) == "" {
			v.note("container %s: %s is not pinned by a digest: whatever its tag means when a pod starts is what runs", name, image)
		}
	}
	for _, c := range rec.Config {
		if c.Copy == "" {
			v.note("%s %s is not kept with the release (it is not there, or may not be read): a rollback would run with whatever it holds then", c.Kind, c.Name)
		}
	}
	if !hasProbe(v.template) {
		v.note("no container has a readiness probe: a pod counts as ready as soon as it runs")
	}
}

// forgets says which releases are beyond those that are kept once the rollout has succeeded.
func (v *surveyor) forgets() {
	if v.port.at.Keep < 0 || v.r.Purpose != rollout.Deploy {
		return
	}
	after := v.state
	after.Stable, after.Previous, after.Warm, after.Active = v.r.To, v.r.From, nil, nil
	if gone := rollout.Superfluous(after, v.port.at.keep()); len(gone) > 0 {
		v.note("%d releases are kept: afterwards %s will be forgotten, with what only they are configured by", v.port.at.keep(), strings.Join(gone, ", "))
	}
}

// judgement says what the candidate will be judged by: the pods of the stable release are asked for their metrics now.
func (v *surveyor) judgement(ctx context.Context) {
	if v.r.Purpose != rollout.Deploy || v.state.Stable == "" {
		return
	}
	e, found := endpointOf(v.template, v.port.at.Metrics)
	asked, answered, where, why := 0, 0, e, "nothing says where they are"
	if found {
		asked, answered, where, why = v.port.meter.trial(ctx, v.state.Stable)
	}
	const alone = "the candidate is judged by readiness and restarts alone. Ask for approval (--approve) where that is too little"
	switch {
	case v.port.at.Metrics == MetricsOff:
		v.note("metrics are switched off: " + alone)
	case asked > 0 && answered == asked:
		v.note("the candidate is judged by its requests: all %d pods of %s that were asked show covetd's metrics (%s)", asked, v.state.Stable, where)
	case answered > 0:
		v.note("the candidate is judged by its requests, but only %d of %d pods of %s that were asked show covetd's metrics (%s): %s", answered, asked, v.state.Stable, where, why)
	case e.sure && asked > 0 && why != noneShown:
		v.note("the metrics of %s cannot be read (%s): %s. A candidate that has traffic and cannot be judged by its requests waits for approval; --metrics off judges it by readiness and restarts alone", v.state.Stable, where, why)
	default:
		v.note("the pods show no metrics of covetd's (%s): "+alone, why)
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func hasProbe(t podTemplate) bool {
	return slices.ContainsFunc(t.containers(), func(c map[string]any) bool { return c["readinessProbe"] != nil })
}

// budgetOf is how many pods a rolling update makes beyond n, rounded up, and lets be missing, rounded down. Kubernetes lets one
// be missing where both come to nothing.
func budgetOf(o object, n int) (surge, unavailable int) {
	get := func(field string, up bool) int {
		v, there, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "strategy", "rollingUpdate", field)
		if !there {
			v = "25%"
		}
		switch v := v.(type) {
		case int64:
			return int(v)
		case string:
			percent := 0
			if _, err := fmt.Sscanf(v, "%d%%", &percent); err != nil {
				return 0
			}
			if up {
				return (n*percent + 99) / 100
			}
			return n * percent / 100
		}
		return 0
	}
	surge, unavailable = get("maxSurge", true), get("maxUnavailable", false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, n)
}

// ends checks that a pod has the time to finish what it has begun.
func (v *surveyor) ends() {
	grace, there, _ := unstructured.NestedInt64(v.template, "spec", "terminationGracePeriodSeconds")
	if !there {
		grace = 30
	}
	for _, c := range v.template.containers() {
		if c["readinessProbe"] == nil && c["ports"] == nil {
			continue
		}
		name, sleep, hooked := text(c, "name"), preStop(c), c["lifecycle"] != nil
		drain := drainOf(c)
		switch {
		case !hooked:
			v.note("container %s has no preStop hook: it gets SIGTERM before load balancers know, and requests may fail; preStop: {sleep: {seconds: 5}} avoids that", name)
		case sleep+drain >= grace:
			v.note("container %s: preStop %ds and drain %ds do not fit into terminationGracePeriodSeconds %d: requests under way and WebSockets are cut; make it at least %d",
				name, sleep, drain, grace, sleep+drain+5)
		}
	}
}

// preStop is how long a container's hook sleeps, in seconds.
func preStop(c map[string]any) int64 {
	if n, there, _ := unstructured.NestedInt64(c, "lifecycle", "preStop", "sleep", "seconds"); there {
		return n
	}
	words, _, _ := unstructured.NestedStringSlice(c, "lifecycle", "preStop", "exec", "command")
	line := strings.Fields(strings.Join(words, " "))
	at := slices.Index(line, "sleep")
	n := int64(0)
	if at >= 0 && at+1 < len(line) {
		if _, err := fmt.Sscan(line[at+1], &n); err != nil {
			return 0
		}
	}
	return n
}

// drainOf is how long the container says that it drains, by covetd's own setting, or what is usual.
func drainOf(c map[string]any) int64 {
	list, _ := c["env"].([]any)
	for _, item := range list {
		if e, ok := item.(map[string]any); ok && text(e, "name") == "SHUTDOWN_TIMEOUT" {
			if d, err := parseSeconds(text(e, "value")); err == nil {
				return d
			}
		}
	}
	return 10
}

// scaling says how an autoscaler and Covet get along.
func (v *surveyor) scaling() {
	for _, h := range v.port.stage.scalers.all() {
		if h.Spec.ScaleTargetRef.Kind != "Deployment" || h.Spec.ScaleTargetRef.Name != v.first.GetName() {
			continue
		}
		v.note("HorizontalPodAutoscaler %s owns the replicas of %s: Covet never sets them, but for scaling up before traffic returns", h.Name, v.first.GetName())
		if v.beside() {
			v.note("HorizontalPodAutoscaler %s counts the candidate's pods as well while the rollout runs, and does not scale them: the candidate is sized by what serves", h.Name)
		}
	}
}

// allowed asks whether the caller may do all of it.
func (v *surveyor) allowed(ctx context.Context, rec record) error {
	needs := permissions(slices.ContainsFunc(rec.Config, func(c rollout.ConfigCopy) bool { return c.Kind == "Secret" }), v.port.stage.myRoutes())
	lacking, err := v.port.client.missing(ctx, needs)
	if err != nil {
		return err
	}
	for _, l := range lacking {
		v.refuse("you may not %s", l)
	}
	return nil
}

// dryRun lets the API server say what it would refuse.
func (v *surveyor) dryRun(ctx context.Context, rec record) {
	h := v.port.hand
	var err error
	if v.r.InPlace {
		err = patiently(ctx, patience, func(ctx context.Context) error {
			_, err := h.patchTemplate(ctx, v.first, rec.rendered().marked(primary, v.r.To), v.r.To, true)
			return err
		})
	} else {
		var o object
		if o, err = h.candidateObject(rec, v.r.To, max(v.r.Steps[0].Candidate, 1)); err == nil {
			err = patiently(ctx, patience, func(ctx context.Context) error {
				_, err := v.port.client.on(deployments).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true, DryRun: []string{metav1.DryRunAll}})
				return err
			})
		}
	}
	if err != nil && !apierrors.IsConflict(err) {
		v.refuse("the API server would refuse it: %v", err)
	}
}

// quota says whether there is room for the pods that are to run at once.
func (v *surveyor) quota(ctx context.Context) {
	list := &corev1.ResourceQuotaList{}
	if err := v.port.client.list(ctx, quotas, list); err != nil {
		return // not everybody may see it; the pods' own refusal would tell
	}
	more := 0
	if v.r.InPlace {
		more, _ = budgetOf(v.first, v.l.slots[primary].replicas)
	} else {
		for _, s := range v.r.Steps {
			more = max(more, s.Candidate)
		}
		more -= v.l.slots[candidate].replicas
	}
	for _, q := range list.Items {
		for name, hard := range q.Status.Hard {
			need, known := v.needs(name, more)
			used := q.Status.Used[name]
			left := hard.DeepCopy()
			left.Sub(used)
			if known && left.MilliValue() < need {
				v.refuse("ResourceQuota %s leaves %s of %s, and %d more pods need %s", q.Name, left.String(), name, more, inUnits(name, need))
			}
		}
	}
}

// needs is what so many pods take of a quota's resource, in thousandths.
func (v *surveyor) needs(name corev1.ResourceName, n int) (int64, bool) {
	if name == corev1.ResourcePods || name == "count/pods" {
		return int64(n) * 1000, true
	}
	var spec corev1.PodSpec
	raw, _, _ := unstructured.NestedMap(v.template, "spec")
	if runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec) != nil {
		return 0, false
	}
	total, known := int64(0), false
	for _, c := range spec.Containers {
		of, bare := c.Resources.Requests, strings.TrimPrefix(string(name), "requests.")
		if strings.HasPrefix(string(name), "limits.") {
			of, bare = c.Resources.Limits, strings.TrimPrefix(string(name), "limits.")
		}
		if q, ok := of[corev1.ResourceName(bare)]; ok {
			total, known = total+q.MilliValue()*int64(n), true
		}
	}
	return total, known
}

// budget says what a PodDisruptionBudget does here, and does not.
func (v *surveyor) budget(ctx context.Context) {
	list := &policyv1.PodDisruptionBudgetList{}
	if err := v.port.client.list(ctx, budgets, list); err != nil {
		return
	}
	labels := v.template.labels()
	for _, b := range list.Items {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || sel.Empty() || !sel.Matches(labelSet(labels)) {
			continue
		}
		v.note("PodDisruptionBudget %s limits evictions, not this rollout: what keeps instances up is the plan's own steps", b.Name)
	}
}

// differences lists what the release's template changes.
func (v *surveyor) differences(ctx context.Context) {
	from := templateOf(v.first)
	if r, ok := v.state.Releases[v.r.From]; ok && r.Manifest.Workload != nil {
		if rec, err := v.port.record(ctx, r); err == nil {
			from = rec.rendered()
		}
	}
	v.out.Changes = append(v.out.Changes, templateChanges(from.bare(), v.template.bare())...)
}
