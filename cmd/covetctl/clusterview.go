package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
)

const clusterLong = `Look at what Kubernetes has to say of the service: its pods with their reasons, events, nodes and autoscalers, the
logs of its pods, and where else covetctl could look. Everything is read, nothing is changed.`

func (a *app) clusterCommand() *cobra.Command {
	view := func(use, short string, show func(console.ClusterView) answer) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: none,
			Example: "covetctl cluster " + use + " --context staging --namespace shop --deployment shop\ncovetctl cluster " + use + " -o json",
			RunE:    func(c *cobra.Command, _ []string) error { return a.clusterView(c.Context(), show) },
		}
	}
	return a.group(&cobra.Command{Use: "cluster", Short: "Look at the service's pods, events, nodes and autoscalers", Long: clusterLong},
		view("pods", "List the service's pods, those in trouble first", showPods),
		view("events", "List what happened to the service's objects, newest first", showEvents),
		view("nodes", "List the nodes that run the service's pods", showNodes),
		view("scalers", "List the service's autoscalers", showScalers),
		a.clusterLogsCommand(), a.targetsCommand())
}

// inCluster is the service as one in a cluster.
func (a *app) inCluster(ctx context.Context) (console.Cluster, error) {
	t, ok, err := a.target()
	if err == nil && !ok {
		return nil, &console.Error{Code: console.CodeUsage, Message: "no service on Kubernetes is named", Hint: "--platform kubernetes takes the current context; --context, --namespace and --deployment name another"}
	}
	port, err := a.onCluster(ctx, t, err)
	if err != nil {
		return nil, err
	}
	c, ok := port.(console.Cluster)
	if !ok {
		return nil, errors.New("this target does not show what is in its cluster")
	}
	return c, nil
}

func (a *app) clusterView(ctx context.Context, show func(console.ClusterView) answer) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	c, err := a.inCluster(ctx)
	if err != nil {
		return err
	}
	v, err := wholeView(ctx, c)
	if err != nil {
		return err
	}
	for _, w := range v.Warnings {
		if err := a.note(render.Warn, "%s", w); err != nil {
			return err
		}
	}
	return a.show(show(v))
}

// viewPatience is how long a part of the view that is slow to come is waited for.
const viewPatience = 5 * time.Second

// wholeView is the view once all of it has been read.
func wholeView(ctx context.Context, c console.Cluster) (console.ClusterView, error) {
	late := time.NewTimer(viewPatience)
	defer late.Stop()
	for {
		changed := c.ViewChanged()
		v, err := c.View(ctx)
		if err != nil || !v.Partial {
			return v, err
		}
		select {
		case <-changed:
		case <-late.C:
			return v, nil
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

func showPods(v console.ClusterView) answer {
	names := make([]string, 0, len(v.Pods))
	for _, p := range v.Pods {
		names = append(names, p.Name)
	}
	return answer{value: v.Pods, names: names, page: func(p *page) {
		t := p.newTable("POD", "STATUS", "READY", "RELEASE", ">RESTARTS", "TRAFFIC", "NODE", "AGE", "REASON")
		for _, pod := range v.Pods {
			t.Row(pod.Name, p.Mark(podTone(pod), pod.Phase), fmt.Sprintf("%d/%d", pod.Ready, len(pod.Containers)), pod.Release, strconv.Itoa(pod.Restarts),
				yesNo(pod.Traffic), pod.Node, p.age(pod.CreatedAt), render.Clean(pod.Reason))
		}
		p.table(t)
	}}
}

func podTone(p *console.Pod) render.Tone {
	switch {
	case p.Phase == "Running" && p.Ready == len(p.Containers):
		return render.Good
	case p.Phase == "Running", p.Phase == "Pending", p.Phase == "Terminating":
		return render.Warn
	}
	return render.Bad
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func showEvents(v console.ClusterView) answer {
	return answer{value: v.Events, page: func(p *page) {
		t := p.newTable("AGE", ">COUNT", "REASON", "OBJECT", "MESSAGE")
		for _, e := range v.Events {
			reason := render.Clean(e.Reason)
			if e.Warning {
				reason = p.Mark(render.Warn, reason)
			}
			t.Row(p.age(e.At), strconv.Itoa(e.Count), reason, e.Object, render.Clean(e.Message))
		}
		p.table(t)
	}}
}

func showNodes(v console.ClusterView) answer {
	names := make([]string, 0, len(v.Nodes))
	for _, n := range v.Nodes {
		names = append(names, n.Name)
	}
	return answer{value: v.Nodes, names: names, page: func(p *page) {
		t := p.newTable("NODE", "STATE", ">PODS", "VERSION", "PRESSED BY")
		for _, n := range v.Nodes {
			tone, state := render.Good, "ready"
			switch {
			case !n.Ready:
				tone, state = render.Bad, "not ready"
			case n.Cordoned:
				tone, state = render.Warn, "cordoned"
			}
			t.Row(n.Name, p.Mark(tone, state), strconv.Itoa(n.Pods), n.Version, strings.Join(n.Conditions, ", "))
		}
		p.table(t)
	}}
}

func showScalers(v console.ClusterView) answer {
	return answer{value: v.Scalers, page: func(p *page) {
		t := p.newTable("AUTOSCALER", "OF", ">PODS", ">WANTS", "BOUNDS", "MEASURED", "REASON")
		for _, s := range v.Scalers {
			t.Row(s.Name, s.Target, strconv.Itoa(s.Current), strconv.Itoa(s.Desired), fmt.Sprintf("%d to %d", s.Min, s.Max), strings.Join(s.Metrics, ", "), render.Clean(s.Reason))
		}
		p.table(t)
	}}
}

func (a *app) clusterLogsCommand() *cobra.Command {
	var q console.PodLogQuery
	c := &cobra.Command{
		Use: "logs [POD]", Short: "Show the log of a pod, or of all pods of a release", Args: atMostOne,
		Example: "covetctl cluster logs shop-6c9f7d5b8-x2x9q --previous\ncovetctl cluster logs --release v1.1.0 -f",
		RunE: func(c *cobra.Command, args []string) error {
			q.Pod = first(args)
			if (q.Pod == "") == (q.Release == "") {
				return usage("name a pod, or a release with --release")
			}
			return a.clusterLogs(c.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVar(&q.Release, "release", "", "all pods of this release")
	f.StringVar(&q.Container, "container", "", "container of the pod (default: its first)")
	f.IntVarP(&q.Lines, "lines", "n", 100, "lines of the past for each pod; 0 for all that is kept")
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on; pods that appear meanwhile are taken up")
	f.BoolVar(&q.Previous, "previous", false, "of the container's life before this one")
	return c
}

func (a *app) clusterLogs(ctx context.Context, q console.PodLogQuery) error {
	c, err := a.inCluster(ctx)
	if err != nil {
		return err
	}
	for l, err := range c.PodLogs(ctx, q) {
		if err != nil {
			return err
		}
		if err := a.logLine(l); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) targetsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "targets", Short: "List the contexts, namespaces and services that covetctl could look at", Args: none,
		Example: "covetctl cluster targets\ncovetctl cluster targets --context staging",
		RunE:    func(c *cobra.Command, _ []string) error { return a.showTargets(c.Context()) },
	}
}

func (a *app) showTargets(ctx context.Context) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	to, _, err := a.target()
	if err != nil {
		return err
	}
	t, err := to.Targets(ctx)
	if err != nil {
		return err
	}
	return a.show(answer{value: t, page: func(p *page) {
		table := p.newTable("KIND", "NAME", "OF", "")
		add := func(kind, name, of string, here, production bool) {
			var notes []string
			if production {
				notes = append(notes, p.Mark(render.Warn, "PRODUCTION"))
			}
			if here {
				notes = append(notes, "current")
			}
			table.Row(kind, render.Clean(name), render.Clean(of), strings.Join(notes, ", "))
		}
		for _, c := range t.Contexts {
			add("context", c.Name, "cluster "+c.Cluster, c.Name == t.Context, c.Production)
		}
		for _, n := range t.Namespaces {
			add("namespace", n, "context "+t.Context, n == t.Namespace, false)
		}
		for _, s := range t.Services {
			add("service", s, "namespace "+t.Namespace, s == t.Service, false)
		}
		p.table(table)
		if t.Hidden != "" {
			p.line("%s", p.Mark(render.Warn, render.Clean(t.Hidden)))
		}
	}})
}
