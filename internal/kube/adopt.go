package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// ledger is the journal with what was found to be true and nobody has written down: a Deployment that Covet has never seen, or
// that others have changed since. Readers see it as events at the journal's end; they are written with the first event that
// somebody else's command makes, in the same write. It implements journal.Journal.
type ledger struct {
	*Journal
	records *records

	mu     sync.Mutex
	found  []journal.Event
	drafts []draft
}

// errOvertaken is why what was found is no longer true.
var errOvertaken = errors.New("another has written to the journal what this program had only found")

// Append implements journal.Journal.
func (l *ledger) Append(ctx context.Context, after journal.Seq, list ...journal.Event) (journal.Seq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.found) == 0 {
		return l.Journal.Append(ctx, after, list...)
	}
	for _, d := range l.drafts {
		if err := l.records.keep(ctx, d); err != nil {
			return 0, err
		}
	}
	last, err := l.Journal.Append(ctx, l.found[0].Seq-1, append(slices.Clone(l.found), list...)...)
	if errors.Is(err, journal.ErrConflict) {
		return 0, errOvertaken
	}
	if err == nil {
		l.found, l.drafts = nil, nil
	}
	return last, err
}

// Read implements journal.Journal.
func (l *ledger) Read(ctx context.Context, from journal.Seq) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		for e, err := range l.Journal.Read(ctx, from) {
			if !yield(e, err) {
				return
			}
		}
		for _, e := range l.pending() {
			if e.Seq >= from && !yield(e, nil) {
				return
			}
		}
	}
}

func (l *ledger) pending() []journal.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found
}

// discover compares the journal with what runs, and keeps what follows for readers and for the first write.
func (l *ledger) discover(ctx context.Context, s rollout.State, g *sight, who string) error {
	o, ok := g.stage.deployment(primary)
	if _, second := g.stage.deployment(candidate); !ok || second || s.Active != nil || g.held(s) {
		return nil // what runs is what a rollout is making of it, or what was stopped
	}
	w := g.workload(s, o, nil, primary)
	if w.version != "" && w.version == s.Stable {
		return nil
	}
	f := finder{ledger: l, sight: g, state: s, who: who, taken: map[string]bool{}}
	if err := f.look(ctx, o, w); err != nil {
		return err
	}
	for i := range f.events {
		f.events[i].Seq = s.Seq + journal.Seq(i) + 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found, l.drafts = f.events, f.drafts
	return nil
}

// finder makes events of what runs.
type finder struct {
	ledger *ledger
	sight  *sight
	state  rollout.State
	who    string
	taken  map[string]bool

	events []journal.Event
	drafts []draft
}

// olderKept bounds the earlier revisions of a Deployment that are taken over when Covet sees it first.
const olderKept = 5

func (f *finder) look(ctx context.Context, o object, w workload) error {
	previous := f.state.Stable
	if len(f.state.Releases) == 0 {
		older, err := f.older(ctx, o, w.hash)
		if err != nil {
			return err
		}
		previous = older
	}
	version := w.version
	if version == "" {
		var err error
		if version, err = f.add(ctx, o, templateOf(o), w.hash); err != nil {
			return err
		}
	}
	f.events = append(f.events, journal.New(now(), f.who, rollout.ServiceAdopted, version, rollout.Adoption{Instances: max(w.replicas, 1), Previous: previous}))
	return nil
}

// older takes over the templates of earlier revisions, as far as their ReplicaSets are still there. It returns the newest.
func (f *finder) older(ctx context.Context, o object, current string) (string, error) {
	var sets []object
	for _, set := range f.sight.stage.sets.all() {
		if metav1.IsControlledBy(set, o) && f.sight.hashOf(set) != current {
			sets = append(sets, set)
		}
	}
	slices.SortFunc(sets, func(a, b object) int { return revision(b) - revision(a) })
	newest, seen := "", map[string]bool{}
	for _, set := range sets {
		hash := f.sight.hashOf(set)
		if seen[hash] || len(seen) >= olderKept {
			continue
		}
		seen[hash] = true
		version, err := f.add(ctx, set, templateOf(set), hash)
		if err != nil {
			return "", err
		}
		if newest == "" {
			newest = version
		}
	}
	slices.Reverse(f.events) // the oldest was added first
	return newest, nil
}

func revision(o object) int {
	n, err := strconv.Atoi(o.GetAnnotations()["deployment.kubernetes.io/revision"])
	if err != nil {
		return 0
	}
	return n
}

// add makes a release of a template that runs or ran.
func (f *finder) add(ctx context.Context, of object, t podTemplate, hash string) (string, error) {
	d, err := f.ledger.records.draft(ctx, t, f.running(t, hash))
	if err != nil {
		return "", err
	}
	version := f.named(t, of)
	m := rollout.Manifest{Workload: d.workload(f.ledger.deployment)}
	r, err := rollout.NewRelease(version, m, now(), f.who)
	if err != nil {
		return "", &console.Error{Code: console.CodeRefused, Message: fmt.Sprintf("Deployment %s cannot be adopted: %v", f.ledger.deployment, err)}
	}
	f.taken[version] = true
	f.drafts = append(f.drafts, d)
	f.events = append(f.events, journal.New(now(), f.who, rollout.ReleaseAdded, version, r))
	return version, nil
}

// running is the images of a template by the digests that its pods really run, where they all run the same.
func (f *finder) running(t podTemplate, hash string) map[string]string {
	images := t.images()
	out := map[string]string{}
	differ := map[string]bool{}
	for _, p := range f.sight.stage.pods.all() {
		set, ok := f.sight.stage.sets.get(owner(p))
		if !ok || f.sight.hashOf(set) != hash {
			continue
		}
		for _, c := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
			image := pinned(images[c.Name], c.ImageID)
			if digestOf(image) == "" {
				continue
			}
			if was, ok := out[c.Name]; ok && was != image {
				differ[c.Name] = true
			}
			out[c.Name] = image
		}
	}
	for name := range differ {
		delete(out, name) // the tag moved between pods: none of the digests is the release's
	}
	return out
}

var versionChars = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)

// named is a version for what had none: its image's tag, or its revision.
func (f *finder) named(t podTemplate, of object) string {
	name := tagOf(firstImage(t))
	if name == "" || name == "latest" {
		name = cmp.Or(t.labels()["app.kubernetes.io/version"], fmt.Sprintf("rev-%d", revision(of)))
	}
	name = strings.Trim(versionChars.ReplaceAllString(name, "-"), "._+-")
	name = name[:min(len(name), 50)]
	if !f.free(name) {
		name = fmt.Sprintf("%s.rev-%d", name, revision(of))
	}
	for n := 2; !f.free(name); n++ {
		name = fmt.Sprintf("%s.%d", strings.TrimSuffix(name, fmt.Sprintf(".%d", n-1)), n)
	}
	return name
}

func (f *finder) free(name string) bool {
	_, known := f.state.Releases[name]
	return name != "" && !known && !f.taken[name]
}

func firstImage(t podTemplate) string {
	list := t.containers()
	if len(list) == 0 {
		return ""
	}
	return text(list[0], "image")
}

// tagOf is an image's tag, or empty.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	base := image[strings.LastIndex(image, "/")+1:]
	_, tag, _ := strings.Cut(base, ":")
	return tag
}

// unadoptable says why Covet must not change a Deployment, or nothing.
func unadoptable(o object) string {
	for _, ref := range o.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller {
			return fmt.Sprintf("it belongs to %s %s, which would undo every change: change that instead", ref.Kind, ref.Name)
		}
	}
	if o.GetDeletionTimestamp() != nil {
		return "it is being deleted"
	}
	return ""
}

// drifted says that pods run another image than their release was recorded with: the tag has moved.
func (g *sight) drifted() []string {
	s := g.state()
	seen := map[string]bool{}
	var out []string
	for _, p := range g.stage.pods.all() {
		r, ok := s.Releases[g.versionOfPod(p)]
		if !ok || r.Manifest.Workload == nil {
			continue
		}
		for _, why := range strays(p, r) {
			if !seen[why] {
				seen[why] = true
				out = append(out, why)
			}
		}
	}
	return out
}

func strays(p *corev1.Pod, r rollout.Release) []string {
	var out []string
	for _, c := range p.Status.ContainerStatuses {
		want, runs := digestOf(r.Manifest.Workload.Images[c.Name]), digestOf(c.ImageID)
		if want != "" && runs != "" && want != runs && digestOf(c.Image) == "" {
			out = append(out, fmt.Sprintf("pods of %s run another image than it was recorded with: %s is %s now, and was %s (the tag has moved)",
				r.Version, r.Manifest.Workload.Images[c.Name], runs, want))
		}
	}
	return out
}
