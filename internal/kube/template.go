package kube

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// podTemplate is a pod template as JSON. It is kept so, since whatever this program does not know in it must be kept too.
type podTemplate map[string]any

func (t podTemplate) copied() podTemplate { return runtime.DeepCopyJSON(t) }

// templateOf is an object's pod template, or nil.
func templateOf(o *unstructured.Unstructured) podTemplate {
	t, _, err := unstructured.NestedMap(o.Object, "spec", "template")
	if err != nil {
		return nil
	}
	return t
}

// bare is the template without what Covet, the Deployment controller and `kubectl rollout restart` add to it.
func (t podTemplate) bare() podTemplate {
	out := t.copied()
	for _, field := range []string{"labels", "annotations"} {
		m, _, err := unstructured.NestedMap(out, "metadata", field)
		if err != nil || m == nil {
			continue
		}
		maps.DeleteFunc(m, func(k string, _ any) bool {
			return strings.HasPrefix(k, "covet.dev/") || k == "pod-template-hash" || k == "kubectl.kubernetes.io/restartedAt"
		})
		if len(m) == 0 {
			unstructured.RemoveNestedField(out, "metadata", field)
			continue
		}
		must(unstructured.SetNestedMap(out, m, "metadata", field))
	}
	if meta, ok := out["metadata"].(map[string]any); ok {
		if meta["creationTimestamp"] == nil {
			delete(meta, "creationTimestamp")
		}
		if len(meta) == 0 {
			delete(out, "metadata")
		}
	}
	return out
}

// must is for fields whose kind was looked at just before.
func must(err error) {
	if err != nil {
		panic("kube: " + err.Error())
	}
}

func (t podTemplate) hash() string { return digest(t.bare()) }

func (t podTemplate) labels() map[string]string {
	m, _, err := unstructured.NestedStringMap(t, "metadata", "labels")
	if err != nil {
		return nil
	}
	return m
}

// version is the release that Covet marked the template with, or empty.
func (t podTemplate) version() string {
	v, _, err := unstructured.NestedString(t, "metadata", "annotations", annVersion)
	if err != nil {
		return ""
	}
	return v
}

// marked is the template as the pods of a slot have it.
func (t podTemplate) marked(slot, version string) podTemplate {
	out := t.bare()
	for path, value := range map[[3]string]string{{"metadata", "labels", labelSlot}: slot, {"metadata", "annotations", annVersion}: version} {
		if err := unstructured.SetNestedField(out, value, path[:]...); err != nil {
			panic("kube: a template's metadata is not an object: " + err.Error())
		}
	}
	return out
}

// containers yields the template's containers, the initial ones last.
func (t podTemplate) containers() []map[string]any {
	spec, _ := t["spec"].(map[string]any)
	var out []map[string]any
	for _, field := range []string{"containers", "initContainers"} {
		list, _ := spec[field].([]any)
		for _, c := range list {
			if m, ok := c.(map[string]any); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

// images is each container's image by its name.
func (t podTemplate) images() map[string]string {
	out := map[string]string{}
	for _, c := range t.containers() {
		name, _ := c["name"].(string)
		out[name], _ = c["image"].(string)
	}
	return out
}

// setImages changes the images of the containers named.
func (t podTemplate) setImages(images map[string]string) {
	for _, c := range t.containers() {
		if name, _ := c["name"].(string); images[name] != "" {
			c["image"] = images[name]
		}
	}
}

// configRef is one object that a template takes configuration from.
type configRef struct{ kind, name string }

// mapConfig calls rename with every ConfigMap and Secret that the template refers to, and puts what it returns in its place.
func (t podTemplate) mapConfig(rename func(configRef) string) {
	apply := func(m map[string]any, field, kind string) {
		if name, ok := m[field].(string); ok && name != "" {
			m[field] = rename(configRef{kind, name})
		}
	}
	each := func(parent map[string]any, field string, do func(map[string]any)) {
		list, _ := parent[field].([]any)
		for _, item := range list {
			if m, ok := item.(map[string]any); ok {
				do(m)
			}
		}
	}
	inner := func(m map[string]any, field, nameField, kind string) {
		if ref, ok := m[field].(map[string]any); ok {
			apply(ref, nameField, kind)
		}
	}
	for _, c := range t.containers() {
		each(c, "env", func(e map[string]any) {
			from, _ := e["valueFrom"].(map[string]any)
			inner(from, "configMapKeyRef", "name", "ConfigMap")
			inner(from, "secretKeyRef", "name", "Secret")
		})
		each(c, "envFrom", func(e map[string]any) {
			inner(e, "configMapRef", "name", "ConfigMap")
			inner(e, "secretRef", "name", "Secret")
		})
	}
	spec, _ := t["spec"].(map[string]any)
	each(spec, "volumes", func(v map[string]any) {
		inner(v, "configMap", "name", "ConfigMap")
		inner(v, "secret", "secretName", "Secret")
		projected, _ := v["projected"].(map[string]any)
		each(projected, "sources", func(s map[string]any) {
			inner(s, "configMap", "name", "ConfigMap")
			inner(s, "secret", "name", "Secret")
		})
	})
}

// config lists what the template refers to, each once.
func (t podTemplate) config() []configRef {
	seen := map[configRef]bool{}
	var out []configRef
	t.mapConfig(func(r configRef) string {
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
		return r.name
	})
	return out
}

// setEnv sets plain environment variables of one container, in its order, new ones last.
func (t podTemplate) setEnv(container string, env []envVar) {
	for _, c := range t.containers() {
		if name, _ := c["name"].(string); name != container {
			continue
		}
		list, _ := c["env"].([]any)
		for _, v := range env {
			list = withEnv(list, v)
		}
		c["env"] = list
	}
}

type envVar struct{ name, value string }

func withEnv(list []any, v envVar) []any {
	for i, item := range list {
		if m, ok := item.(map[string]any); ok && m["name"] == v.name {
			list[i] = map[string]any{"name": v.name, "value": v.value}
			return list
		}
	}
	return append(list, map[string]any{"name": v.name, "value": v.value})
}

// unmarshal reads JSON as the API machinery does: whole numbers as int64.
func unmarshal(raw []byte, into any) error { return utiljson.Unmarshal(raw, into) }
