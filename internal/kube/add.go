package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// Resolver finds the digest that an image's tag means now.
type Resolver interface {
	Resolve(ctx context.Context, image string) (digest string, err error)
}

// Record implements console.Recorder: a release is the stable one's template, or one that was given, with other images and
// environment, and the configuration as it is now.
func (p *Port) Record(ctx context.Context, s rollout.State, in console.AddReleaseRequest) (rollout.Manifest, error) {
	base, err := p.base(ctx, s, in)
	if err != nil {
		return rollout.Manifest{}, err
	}
	t := base.Template.copied()
	named, err := imagesFor(t, in.Images)
	if err != nil {
		return rollout.Manifest{}, err
	}
	t.setImages(named)
	setEnvironment(t, named, in.Env)
	if t, err = p.defaulted(ctx, t); err != nil {
		return rollout.Manifest{}, err
	}
	pins, err := p.pins(ctx, t, base, in.Unpinned)
	if err != nil {
		return rollout.Manifest{}, err
	}
	d, err := p.records.draft(ctx, t, pins)
	if err != nil {
		return rollout.Manifest{}, err
	}
	if err := p.records.keep(ctx, d); err != nil {
		return rollout.Manifest{}, err
	}
	return rollout.Manifest{Instances: in.Manifest.Instances, ReadyTimeout: in.Manifest.ReadyTimeout, Workload: d.workload(p.at.Deployment)}, nil
}

// base is what a new release is made from.
func (p *Port) base(ctx context.Context, s rollout.State, in console.AddReleaseRequest) (record, error) {
	if len(in.Template) > 0 {
		var o unstructured.Unstructured
		if err := unmarshal(in.Template, &o.Object); err != nil {
			return record{}, badRequest("the manifest cannot be read: %v", err)
		}
		t := templateOf(&o)
		if o.GetKind() != "Deployment" || t == nil {
			return record{}, badRequest("the manifest is a %s: give a Deployment", o.GetKind())
		}
		return record{Template: t}, nil
	}
	if len(in.Images) == 0 && len(in.Env) == 0 {
		return record{}, badRequest("what is new about it? give --image, --env or --manifest")
	}
	if stable, ok := s.Releases[s.Stable]; ok && stable.Manifest.Workload != nil {
		return p.record(ctx, stable)
	}
	o, ok := p.stage.deployment(primary)
	if !ok {
		return record{}, errNoDeployment
	}
	return record{Template: templateOf(o).bare()}, nil
}

func badRequest(format string, args ...any) error {
	return &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf(format, args...), Hint: "covetctl release add --help has examples"}
}

// imagesFor reads IMAGE and CONTAINER=IMAGE.
func imagesFor(t podTemplate, given []string) (map[string]string, error) {
	have := t.images()
	out := map[string]string{}
	for _, g := range given {
		name, image, ok := strings.Cut(g, "=")
		if !ok {
			image = g
			var err error
			if name, err = containerFor(have, image); err != nil {
				return nil, err
			}
		}
		if _, known := have[name]; !known || image == "" {
			return nil, badRequest("image %q: there is no container %q; there are %s", g, name, strings.Join(slices.Sorted(maps.Keys(have)), ", "))
		}
		if strings.ContainsAny(image, " \t\n") || strings.HasSuffix(image, ":") || strings.HasSuffix(image, "@") {
			return nil, badRequest("image %q is not an image's name", image)
		}
		out[name] = image
	}
	return out, nil
}

// containerFor is the container that an image is for: the only one, or the only one with an image of the same repository.
func containerFor(have map[string]string, image string) (string, error) {
	if len(have) == 1 {
		for name := range have {
			return name, nil
		}
	}
	var found []string
	for name, old := range have {
		if repository(old) == repository(image) {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return "", badRequest("image %s: which container is it for? say CONTAINER=IMAGE; there are %s", image, strings.Join(slices.Sorted(maps.Keys(have)), ", "))
	}
	return found[0], nil
}

// repository is an image without its tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if tag := tagOf(image); tag != "" {
		image = strings.TrimSuffix(image, ":"+tag)
	}
	return image
}

func setEnvironment(t podTemplate, named map[string]string, env map[string]string) {
	var list []envVar
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, envVar{k, env[k]})
	}
	if len(list) == 0 {
		return
	}
	target := slices.Sorted(maps.Keys(named))
	if len(target) == 0 {
		if all := t.containers(); len(all) > 0 {
			target = []string{text(all[0], "name")}
		}
	}
	for _, name := range target {
		t.setEnv(name, list)
	}
}

// defaulted is a template as the API server completes it, if it takes it at all.
func (p *Port) defaulted(ctx context.Context, t podTemplate) (podTemplate, error) {
	o, err := p.hand.candidateObject(record{Template: t}, "check", 1)
	if err != nil {
		return nil, err
	}
	o.SetName("")
	o.SetGenerateName("covet-check-")
	var got object
	err = patiently(ctx, patience, func(ctx context.Context) (err error) {
		got, err = p.client.on(deployments).Create(ctx, o, metav1.CreateOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
		return err
	})
	if err != nil {
		return nil, &console.Error{Code: console.CodeRefused, Message: fmt.Sprintf("the API server would not take the release: %v", err), Hint: "nothing was recorded; put that right, and add it again"}
	}
	return templateOf(got).bare(), nil
}

// pins finds the digests of a template's images.
func (p *Port) pins(ctx context.Context, t podTemplate, base record, unpinned bool) (map[string]string, error) {
	old, out := base.Template.images(), map[string]string{}
	for name, image := range t.images() {
		switch {
		case digestOf(image) != "":
			continue
		case image == old[name] && base.Images[name] != "":
			out[name] = base.Images[name]
			continue
		}
		digest, err := p.resolve(ctx, image)
		if err != nil && !unpinned {
			return nil, &console.Error{Code: console.CodeRefused, Message: fmt.Sprintf("image %s cannot be pinned: %v", image, err),
				Hint: "a tag can be moved, so a release is a digest: give " + image + "@sha256:…, or take the risk with --unpinned"}
		}
		if err == nil {
			out[name] = image + "@" + digest
		}
	}
	return out, nil
}

func (p *Port) resolve(ctx context.Context, image string) (string, error) {
	if p.options.Images == nil {
		return "", fmt.Errorf("there is nobody to ask for its digest")
	}
	return p.options.Images.Resolve(ctx, image)
}
