package kube

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// serve makes the cluster serve a kind as its own program would define it, as far as that matters here.
func (w *world) serve(gvr schema.GroupVersionResource, kind string) {
	w.t.Helper()
	manifest := fmt.Sprintf(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %s.%s}, spec: {group: %s,
  names: {kind: %s, plural: %s, singular: %s}, scope: Namespaced,
  versions: [{name: %s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`,
		gvr.Resource, gvr.Group, gvr.Group, kind, gvr.Resource, strings.ToLower(kind), gvr.Version)
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		w.t.Fatal(err)
	}
	crds := w.client.dyn.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := crds.Create(w.t.Context(), o, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
	w.eventually(kind+" is served", func() bool {
		_, err := w.client.on(gvr).List(w.t.Context(), metav1.ListOptions{})
		return err == nil
	})
}

func (w *world) create(gvr schema.GroupVersionResource, manifest string) {
	w.t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.client.on(gvr).Create(w.t.Context(), o, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// A Deployment that Flagger or Argo Rollouts rolls out is left to them, whatever is asked for, and they are named.
func TestDeploymentOfAnotherProgramIsLeftToIt(t *testing.T) {
	w := newWorld(t)
	w.serve(rivals[0].gvr, "Canary")
	w.serve(rivals[1].gvr, "Rollout")
	w.applyAs("tester", strings.Replace(webDeployment, "web:v1.0.0", "web:v1.1.0", 1))
	other := `{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: other}, spec: {targetRef: {kind: Deployment, name: other}}}`
	w.create(rivals[0].gvr, other)
	w.create(rivals[0].gvr, `{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: shop}, spec: {targetRef: {kind: Deployment, name: web}}}`)
	w.create(rivals[1].gvr, `{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: ours}, spec: {workloadRef: {kind: Deployment, name: web}}}`)
	p := w.open()
	generation := w.deployment("web").GetGeneration()
	w.refused(p, console.Rollback, console.RollbackRequest{}, console.CodeRefused, "Flagger's Canary shop rolls Deployment web out", "Argo's Rollout ours rolls Deployment web out")
	if w.deployment("web").GetGeneration() != generation || !w.gone(configMaps, "covet-web-journal") {
		t.Error("the Deployment was touched, or taken up")
	}
	for gvr, name := range map[schema.GroupVersionResource]string{rivals[0].gvr: "shop", rivals[1].gvr: "ours"} {
		if err := w.client.on(gvr).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ack := w.do(p, console.Rollback, console.RollbackRequest{}) // the one that is left is of another Deployment
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.create(rivals[0].gvr, strings.ReplaceAll(other, "other", "web"))
	w.refused(p, console.StartRollout, quick("v1.1.0", rollout.Rolling), console.CodeRefused, "Flagger's Canary web rolls Deployment web out")
}

// What applies the manifest from elsewhere is named in the plan: its next run would take a rollout back.
func TestPlanNamesWhoAppliesTheManifest(t *testing.T) {
	for want, labels := range map[string][2]string{
		"Argo CD's Application shop": {"annotations", "argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:x/web'"},
		"Flux's Kustomization apps":  {"labels", "kustomize.toolkit.fluxcd.io/name: apps"},
		"Helm's release store":       {"annotations", "meta.helm.sh/release-name: store"},
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(fmt.Appendf(nil, "metadata: {name: web, %s: {%s}}", labels[0], labels[1]), &o.Object); err != nil {
			t.Fatal(err)
		}
		if got := upstream(o); got != want {
			t.Errorf("%s is %q", want, got)
		}
	}
}

func TestOtherKindIsNamed(t *testing.T) {
	w := newWorld(t)
	w.create(otherWorkloads[0].gvr, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {serviceName: db, replicas: 0, selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}}`)
	_, err := w.tryOpen(Target{Kubeconfig: w.kubeconfig, Deployment: "db"})
	if err == nil || !strings.Contains(err.Error(), "is a StatefulSet: Covet rolls out Deployments alone") {
		t.Errorf("a StatefulSet: %v", err)
	}
}
