package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// youngest is how old a record must be to be swept away: one that was just written may be about to be journalled.
const youngest = 10 * time.Minute

// sweeper finds and deletes the records and the copies of configuration that no release needs any more.
type sweeper struct {
	port *Port
	age  time.Duration // youngest, but for tests
}

// Leftovers implements console.Sweeper.
func (w *sweeper) Leftovers(ctx context.Context, s rollout.State, gone []string) ([]string, error) {
	found, err := w.find(ctx, s, gone)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(found))
	for _, ref := range found {
		out = append(out, ref.kind+" "+ref.name)
	}
	return out, nil
}

// find lists what nothing needs once the releases given are gone: records first, so that what is left after a fault is found
// again by those that are kept.
func (w *sweeper) find(ctx context.Context, s rollout.State, gone []string) ([]configRef, error) {
	kept := map[string]bool{}
	for v, r := range s.Releases {
		if m := r.Manifest.Workload; m != nil && !slices.Contains(gone, v) {
			kept[m.Record] = true
		}
	}
	list, err := w.port.client.on(configMaps).List(ctx, metav1.ListOptions{LabelSelector: labelKind + "=release"})
	if err != nil {
		return nil, inWords("list the releases' records", err)
	}
	needed := w.running()
	var records, copies []configRef
	for i := range list.Items {
		o := &list.Items[i]
		rec, err := recordOf(o)
		mine := o.GetAnnotations()[annDeployment] == w.port.at.Deployment
		if err != nil || !mine || kept[o.GetName()] || now().Sub(o.GetCreationTimestamp().Time) < w.age {
			for _, c := range rec.Config {
				needed[configRef{c.Kind, c.Copy}] = true // of this service or of another: it is still somebody's
			}
			continue
		}
		records = append(records, configRef{"ConfigMap", o.GetName()})
		for _, c := range rec.Config {
			if c.Copy != "" {
				copies = append(copies, configRef{c.Kind, c.Copy})
			}
		}
	}
	copies = slices.DeleteFunc(copies, func(c configRef) bool { return needed[c] })
	slices.SortFunc(copies, func(a, b configRef) int { return compareRefs(a, b) })
	return append(slices.Compact(copies), records...), nil
}

func compareRefs(a, b configRef) int {
	switch {
	case a == b:
		return 0
	case a.kind < b.kind || a.kind == b.kind && a.name < b.name:
		return -1
	}
	return 1
}

// running is what the Deployments, and the ReplicaSets that they may still return to, are configured by.
func (w *sweeper) running() map[configRef]bool {
	out := map[configRef]bool{}
	take := func(o object) {
		for _, ref := range templateOf(o).config() {
			out[ref] = true
		}
	}
	for _, slot := range slots {
		if o, ok := w.port.stage.deployment(slot); ok {
			take(o)
		}
	}
	for _, set := range w.port.stage.sets.all() {
		if n, _, _ := unstructured.NestedInt64(set.Object, "status", "replicas"); n > 0 {
			take(set)
		}
	}
	return out
}

// sweep deletes what nothing needs. A copy goes before the record that names it: what a fault leaves is found again.
func (w *sweeper) sweep(ctx context.Context) error {
	found, err := w.find(ctx, w.port.state(), nil)
	if err != nil {
		return err
	}
	var errs []error
	for _, ref := range found {
		if err := w.delete(ctx, ref); err != nil {
			errs = append(errs, fmt.Errorf("delete %s %s: %w", ref.kind, ref.name, err))
		}
	}
	return errors.Join(errs...)
}

// delete removes an object that is Covet's own.
func (w *sweeper) delete(ctx context.Context, ref configRef) error {
	on := w.port.client.on(resourceOf(ref.kind))
	o, err := on.Get(ctx, ref.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case o.GetLabels()[labelKind] != "config" && o.GetLabels()[labelKind] != "release":
		return nil // it is somebody else's, whatever its name
	}
	uid := o.GetUID()
	err = on.Delete(ctx, ref.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// prune forgets the releases beyond those that are kept, once nothing is under way, and sweeps up after them.
func (p *Port) prune(ctx context.Context) {
	if p.at.Keep < 0 {
		return
	}
	p.mu.Lock()
	k := p.keeper
	p.mu.Unlock()
	pruned := false
	_, err := k.Decide(ctx, func(s rollout.State) ([]journal.Event, error) {
		var events []journal.Event
		if s.Active == nil && s.Warm == nil {
			for _, v := range rollout.Superfluous(s, p.at.keep()) {
				events = append(events, journal.New(now(), rollout.ByCovetd, rollout.ReleaseRemoved, v, nil))
			}
		}
		pruned = len(events) > 0
		return events, nil
	})
	if err == nil && pruned {
		err = p.sweeper.sweep(ctx)
	}
	if err != nil && ctx.Err() == nil {
		p.options.Log.Warn("old releases could not be cleared away; it is tried after the next rollout", "error", err)
	}
}

// keep is how many releases are kept.
func (t Target) keep() int {
	if t.Keep == 0 {
		return console.KeepReleases
	}
	return t.Keep
}
