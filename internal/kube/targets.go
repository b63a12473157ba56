package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/covetpy/covet/ops/console"
)

// Nearby is where else covetctl could look as far as the kubeconfig tells. No cluster is asked, so a dead one does not matter.
func (t Target) Nearby() (console.Targets, error) {
	out := console.Targets{Namespaces: []string{}, Services: []string{}}
	var err error
	if out.Contexts, err = t.contexts(); err != nil {
		return out, err
	}
	at, unclear := t.resolve()
	if out.Hidden = saidBy(unclear); out.Hidden != "" {
		return out, nil
	}
	out.Context, out.Namespace, out.Service = at.Context, at.Namespace, at.Deployment
	out.Production = Production(at.Environment)
	for _, c := range out.Contexts {
		if c.Cluster == at.cluster && !slices.Contains(out.Namespaces, c.Namespace) {
			out.Namespaces = append(out.Namespaces, c.Namespace)
		}
	}
	if !slices.Contains(out.Namespaces, at.Namespace) {
		out.Namespaces = append(out.Namespaces, at.Namespace)
	}
	slices.Sort(out.Namespaces)
	return out, nil
}

// saidBy is what an error says, or nothing.
func saidBy(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Targets is Nearby with what the cluster itself knows: its namespaces, and the services in the current one. What it does not
// tell is said in Hidden.
func (t Target) Targets(ctx context.Context) (console.Targets, error) {
	out, err := t.Nearby()
	if err != nil || out.Hidden != "" {
		return out, err
	}
	at, err := t.resolve()
	if err != nil {
		return out, err
	}
	c, err := newClient(at)
	if err != nil {
		return out, err
	}
	c.places(ctx, &out)
	return out, nil
}

// Targets implements console.Cluster.
func (p *Port) Targets(ctx context.Context) (console.Targets, error) {
	t := p.target
	t.Deployment = p.at.Deployment
	out, err := t.Nearby()
	if err == nil {
		p.client.places(ctx, &out)
	}
	return out, err
}

// places fills in what the cluster knows of where to go.
func (c *client) places(ctx context.Context, t *console.Targets) {
	var hidden [2]string
	var asking sync.WaitGroup
	asking.Go(func() {
		list := &corev1.NamespaceList{}
		if err := c.typed.Get().AbsPath(c.path(namespaces)...).Do(ctx).Into(list); err != nil { // once: a person waits, and may ask again
			hidden[0] = fmt.Sprintf("The namespaces cannot be listed: %s.", plainly(err))
			return
		}
		t.Namespaces = []string{}
		for _, n := range list.Items {
			t.Namespaces = append(t.Namespaces, n.Name)
		}
	})
	asking.Go(func() {
		all, err := c.everything(ctx, deployments, "!"+labelKind)
		if err != nil {
			hidden[1] = fmt.Sprintf("The services cannot be listed: %s.", plainly(err))
			return
		}
		for _, o := range all {
			t.Services = append(t.Services, o.GetName())
		}
	})
	asking.Wait()
	t.Hidden = strings.TrimSpace(hidden[0] + " " + hidden[1])
	if _, why, _ := strings.Cut(hidden[0], ": "); why != "" && strings.HasSuffix(hidden[1], ": "+why) {
		t.Hidden = "The namespaces and services cannot be listed: " + why
	}
}

// To is the target that a person goes to from this one. What was said of this one alone is not carried over: how its environment
// is called, which Service is meant.
func (t Target) To(ref console.TargetRef) Target {
	t.Service, t.Environment = "", ""
	if ref.Context != "" {
		t.Context, t.Namespace, t.Deployment = ref.Context, "", ""
	}
	if ref.Namespace != "" {
		t.Namespace, t.Deployment = ref.Namespace, ""
	}
	if ref.Deployment != "" {
		t.Deployment = ref.Deployment
	}
	return t
}

// Pinned is the target with the context and the namespace that the kubeconfig takes now, so that it stays what it is when
// somebody changes the current context. It is the same where the kubeconfig cannot be read.
func (t Target) Pinned() Target {
	at, err := t.resolve()
	if err == nil && at.cluster != "" {
		t.Context, t.Namespace = at.Context, at.Namespace
	}
	return t
}

// Where is what is meant, for people.
func (t Target) Where() string {
	return "kubernetes:" + cmp.Or(t.Context, "current context") + "/" + cmp.Or(t.Namespace, "its namespace") + "/" + cmp.Or(t.Deployment, "its service")
}
