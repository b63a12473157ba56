package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// record is all that is needed to run a release again when its ReplicaSet, its image's tag and its configuration have changed
// or gone.
type record struct {
	Template podTemplate          `json:"template"`         // bare, with the names it was made with
	Images   map[string]string    `json:"images,omitempty"` // pinned, by container
	Config   []rollout.ConfigCopy `json:"config,omitempty"`
}

// rendered is the template as Covet runs it: images by their digest, configuration from the copies that were kept.
func (r record) rendered() podTemplate {
	t := r.Template.copied()
	t.setImages(r.Images)
	copies := map[configRef]string{}
	for _, c := range r.Config {
		if c.Copy != "" {
			copies[configRef{c.Kind, c.Name}] = c.Copy
		}
	}
	t.mapConfig(func(ref configRef) string {
		if name := copies[ref]; name != "" {
			return name
		}
		return ref.name
	})
	return t
}

// workload is what the journal says of the record.
func (r record) workload(deployment string) *rollout.Workload {
	images := r.Template.images()
	maps.Copy(images, r.Images)
	return &rollout.Workload{Images: images, Template: r.Template.hash(), Rendered: r.rendered().hash(), Config: r.Config, Record: r.name(deployment)}
}

func (r record) name(deployment string) string {
	return prefixed(deployment, "release-"+digest(r)[:16])
}

// draft is a record that is not kept yet, with the configuration that it found.
type draft struct {
	record
	copies []*unstructured.Unstructured
}

// records keeps releases in the cluster. Safe for concurrent use.
type records struct {
	client     *client
	deployment string

	mu    sync.Mutex
	known map[string]record
}

func newRecords(c *client, deployment string) *records {
	return &records{client: c, deployment: deployment, known: map[string]record{}}
}

// draft makes the record of a template, reading the configuration it refers to as it is now. Nothing is written.
func (r *records) draft(ctx context.Context, t podTemplate, images map[string]string) (draft, error) {
	d := draft{record: record{Template: t.bare(), Images: images}}
	for _, ref := range t.config() {
		c, object, err := r.read(ctx, ref)
		if err != nil {
			return d, err
		}
		d.Config = append(d.Config, c)
		if object != nil {
			d.copies = append(d.copies, object)
		}
	}
	slices.SortFunc(d.Config, func(a, b rollout.ConfigCopy) int { return strings.Compare(a.Kind+"/"+a.Name, b.Kind+"/"+b.Name) })
	return d, nil
}

func resourceOf(kind string) schema.GroupVersionResource {
	if kind == "Secret" {
		return secrets
	}
	return configMaps
}

// read takes a copy of one configuration object. One that is not there, may not be read or cannot be copied has no hash.
func (r *records) read(ctx context.Context, ref configRef) (rollout.ConfigCopy, *unstructured.Unstructured, error) {
	c := rollout.ConfigCopy{Kind: ref.kind, Name: ref.name}
	var o *unstructured.Unstructured
	err := patiently(ctx, patience, func(ctx context.Context) (err error) {
		o, err = r.client.on(resourceOf(ref.kind)).Get(ctx, ref.name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return c, nil, nil
	}
	if err != nil {
		return c, nil, inWords(fmt.Sprintf("read %s %s", ref.kind, ref.name), err)
	}
	if o.Object["type"] == "kubernetes.io/service-account-token" {
		return c, nil, nil // it is bound to its name
	}
	content := map[string]any{"immutable": true}
	for _, field := range []string{"data", "binaryData", "type"} {
		if v, there := o.Object[field]; there {
			content[field] = v
		}
	}
	c.Hash = digest(content)
	c.Copy = suffixed(ref.name, "-"+c.Hash[:10])
	return c, ownObject("v1", ref.kind, c.Copy, r.deployment, "config", content), nil
}

// keep writes a draft: first the copies, then the record that names them. What is there already is the same by its name.
func (r *records) keep(ctx context.Context, d draft) error {
	for _, o := range d.copies {
		if err := r.create(ctx, resourceOf(o.GetKind()), o); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(d.record)
	if err != nil {
		return fmt.Errorf("encode the release's record: %w", err)
	}
	o := ownObject("v1", "ConfigMap", d.name(r.deployment), r.deployment, "release", map[string]any{
		"immutable": true, "data": map[string]any{"record.json": string(raw)},
	})
	if err := r.create(ctx, configMaps, o); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[o.GetName()] = d.record
	return nil
}

func (r *records) create(ctx context.Context, kind schema.GroupVersionResource, o *unstructured.Unstructured) error {
	err := patiently(ctx, patience, func(ctx context.Context) error {
		_, err := r.client.on(kind).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return inWords(fmt.Sprintf("keep %s %s", o.GetKind(), o.GetName()), err)
}

// get reads a record, and refuses one that is not what its name says.
func (r *records) get(ctx context.Context, name string) (record, error) {
	r.mu.Lock()
	known, ok := r.known[name]
	r.mu.Unlock()
	if ok {
		return known, nil
	}
	var o *unstructured.Unstructured
	err := patiently(ctx, patience, func(ctx context.Context) (err error) {
		o, err = r.client.on(configMaps).Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return record{}, inWords("read the release's record "+name, err)
	}
	rec, err := recordOf(o)
	if err != nil {
		return record{}, err
	}
	if rec.name(r.deployment) != name {
		return record{}, &console.Error{Code: console.CodeRefused, Message: "the release's record " + name + " is not what it was: its content has another hash",
			Hint: "somebody replaced the ConfigMap; choose another release"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = rec
	return rec, nil
}

// recordOf is the record that a ConfigMap holds.
func recordOf(o object) (record, error) {
	var rec record
	text, _, err := unstructured.NestedString(o.Object, "data", "record.json")
	if err == nil {
		err = unmarshal([]byte(text), &rec)
	}
	if err != nil {
		return record{}, fmt.Errorf("read the release's record %s: %w", o.GetName(), err)
	}
	return rec, nil
}

// missing lists what a release takes its configuration from and is not there any more.
func (r *records) missing(ctx context.Context, rec record) ([]string, error) {
	gone := make([]string, len(rec.Config))
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range rec.Config {
		name := cmp.Or(c.Copy, c.Name)
		group.Go(func() error {
			err := patiently(ctx, patience, func(ctx context.Context) error {
				_, err := r.client.on(resourceOf(c.Kind)).Get(ctx, name, metav1.GetOptions{})
				return err
			})
			switch {
			case apierrors.IsNotFound(err):
				gone[i] = c.Kind + " " + name
			case err != nil && !apierrors.IsForbidden(err):
				return inWords(fmt.Sprintf("look for %s %s", c.Kind, name), err)
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(gone, func(s string) bool { return s == "" }), err
}
