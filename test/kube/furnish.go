package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// podMetrics stands in for metrics-server, so that a HorizontalPodAutoscaler and `kubectl top` find what a test has put there.
const podMetrics = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: pods.metrics.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, a test's stand-in for metrics-server"}
spec:
  group: metrics.k8s.io
  scope: Namespaced
  names: {plural: pods, singular: pod, kind: PodMetrics, listKind: PodMetricsList}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// furnish gives a new control plane its custom resources and simulated nodes, and returns when pods can run.
func (p *plane) furnish(ctx context.Context) error {
	typed, loose, err := p.clients()
	if err != nil {
		return err
	}
	if err := p.addDefinitions(ctx, loose); err != nil {
		return err
	}
	if p.nodes > 0 {
		if err := p.simulate(ctx, typed); err != nil {
			return err
		}
	}
	return wait(ctx, "the default service account", func() error {
		_, err := typed.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// addDefinitions applies podMetrics and the definitions in the folder of them.
func (p *plane) addDefinitions(ctx context.Context, loose dynamic.Interface) error {
	texts := []string{podMetrics}
	files, err := filepath.Glob(filepath.Join(p.crds, "*.yaml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		texts = append(texts, string(b))
	}
	for _, text := range texts {
		if err := applyDefinitions(ctx, loose, text); err != nil {
			return err
		}
	}
	return nil
}

func applyDefinitions(ctx context.Context, loose dynamic.Interface, text string) error {
	definitions := loose.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(text), 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a custom resource definition: %w", err)
		}
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		if _, err := definitions.Create(ctx, &o, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("define %s: %w", o.GetName(), err)
		}
	}
}

// simulate starts KWOK and makes its nodes.
func (p *plane) simulate(ctx context.Context, typed kubernetes.Interface) error {
	text, err := stages()
	if err != nil {
		return err
	}
	config := filepath.Join(p.dir, "stages.yaml")
	if err := os.WriteFile(config, []byte(text+p.logs()), 0o600); err != nil {
		return err
	}
	port, err := freePorts(1)
	if err != nil {
		return err
	}
	if err := p.crew.start("kwok", "", "--kubeconfig="+p.kubeconfigOf("admin"), "--config="+config, "--cidr=10.244.0.0/16",
		"--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-lease-duration-seconds=40", "--node-ip=127.0.0.1",
		fmt.Sprintf("--node-port=%d", port[0]), "--tls-cert-file="+p.pki("apiserver.crt"), "--tls-private-key-file="+p.pki("apiserver.key")); err != nil {
		return err
	}
	for i := range p.nodes {
		if _, err := typed.CoreV1().Nodes().Create(ctx, simulatedNode(fmt.Sprintf("sim-%d", i)), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make a simulated node: %w", err)
		}
	}
	return wait(ctx, "the simulated nodes", func() error {
		if err := p.crew.fallen("kwok", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"); err != nil {
			return final{err}
		}
		return allReady(ctx, typed)
	})
}

func simulatedNode(name string) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1k"), corev1.ResourceMemory: resource.MustParse("4Ti"), corev1.ResourcePods: resource.MustParse("10k"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
			Labels: map[string]string{"type": "kwok", corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64", corev1.LabelTopologyZone: "zone-" + name[len(name)-1:]},
		},
		Status: corev1.NodeStatus{Allocatable: room, Capacity: room},
	}
}

// allReady returns an error that names a node which is not ready.
func allReady(ctx context.Context, typed kubernetes.Interface) error {
	list, err := typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range list.Items {
		if !readyNode(&n) {
			return fmt.Errorf("node %s is not ready", n.Name)
		}
	}
	if len(list.Items) == 0 {
		return errors.New("there is no node")
	}
	return nil
}

func readyNode(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// logs is what every simulated pod says: the file sim.log of the cluster's folder, to which a test may append; and of a
// container's life before this one previous.log.
func (p *plane) logs() string {
	for name, line := range map[string]string{"sim.log": "listening on :8080", "previous.log": "panic: crashing on purpose"} {
		text := fmt.Sprintf("2026-01-01T00:00:00.000000000Z stdout F %s\n", line)
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			return ""
		}
	}
	return strings.NewReplacer("DIR", p.dir).Replace(`
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata: {name: all}
spec:
  logs:
  - logsFile: DIR/sim.log
    previousLogsFile: DIR/previous.log
    follow: true
`)
}
