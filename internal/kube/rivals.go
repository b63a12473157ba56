package kube

import (
	"context"
	"fmt"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rival is a kind of object by which another program rolls a Deployment out.
type rival struct {
	resource
	ref    string // the field of its spec that names the Deployment
	wayOut string
}

var rivals = []rival{
	{resource{schema.GroupVersionResource{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"}, "Flagger's Canary"}, "targetRef",
		"give Flagger the release (kubectl set image), or delete its Canary first"},
	{resource{schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}, "Argo's Rollout"}, "workloadRef",
		"give Argo Rollouts the release, or delete its Rollout first"},
}

// rivalsOf says who else rolls a Deployment out. What is not served, or may not be read, is not there as far as can be known.
func (c *client) rivalsOf(ctx context.Context, deployment string) []string {
	found := make([][]string, len(rivals))
	var asking sync.WaitGroup
	for i, r := range rivals {
		asking.Go(func() {
			all, err := c.everything(ctx, r.gvr, "")
			if err != nil {
				return
			}
			for _, o := range all {
				kind, _, _ := unstructured.NestedString(o.Object, "spec", r.ref, "kind")
				name, _, _ := unstructured.NestedString(o.Object, "spec", r.ref, "name")
				if kind == "Deployment" && name == deployment {
					found[i] = append(found[i], fmt.Sprintf("%s %s rolls Deployment %s out, and two must not: %s", r.kind, o.GetName(), deployment, r.wayOut))
				}
			}
		})
	}
	asking.Wait()
	var out []string
	for _, f := range found {
		out = append(out, f...)
	}
	return out
}

// upstream is who applies a Deployment's manifest again from elsewhere, or empty: what Covet changes may be undone by that.
func upstream(o object) string {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if app, _, _ := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":"); app != "" {
		return "Argo CD's Application " + app
	}
	for _, l := range [][2]string{
		{"argocd.argoproj.io/instance", "Argo CD's Application "}, {"kustomize.toolkit.fluxcd.io/name", "Flux's Kustomization "},
		{"helm.toolkit.fluxcd.io/name", "Flux's HelmRelease "},
	} {
		if name := labels[l[0]]; name != "" {
			return l[1] + name
		}
	}
	if name := annotations["meta.helm.sh/release-name"]; name != "" {
		return "Helm's release " + name
	}
	return ""
}

// otherWorkloads are the kinds that a service may be of, and that Covet does not roll out.
var otherWorkloads = []resource{
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, "a StatefulSet"},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, "a DaemonSet"},
	{rivals[1].gvr, "a Rollout of Argo's"},
}

// otherKind is what has the name where there is no Deployment of that name, or empty.
func (c *client) otherKind(ctx context.Context, name string) string {
	for _, k := range otherWorkloads {
		if _, err := c.on(k.gvr).Get(ctx, name, metav1.GetOptions{}); err == nil {
			return k.kind
		}
	}
	return ""
}
