package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/internal/kube"
	"github.com/covetpy/covet/internal/registry"
	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// clusterFlags say which service on Kubernetes is meant.
type clusterFlags struct {
	target, platform, kubeconfig, context, namespace, deployment, service, router, metrics string
	keepReleases                                                                           int
}

func (a *app) clusterFlags(c *cobra.Command) {
	f, v := c.PersistentFlags(), &a.flags.cluster
	f.StringVar(&v.target, "target", "", "a service of covetctl.yaml, by its name there (env COVET_TARGET)")
	f.StringVar(&v.platform, "platform", "", "local or kubernetes (env COVET_PLATFORM; default by the flags below)")
	f.StringVar(&v.kubeconfig, "kubeconfig", "", "kubernetes: the kubeconfig (env KUBECONFIG)")
	f.StringVar(&v.context, "context", "", "kubernetes: the context in it (env COVET_CONTEXT)")
	f.StringVar(&v.namespace, "namespace", "", "kubernetes: the namespace (env COVET_NAMESPACE)")
	f.StringVar(&v.deployment, "deployment", "", "kubernetes: the Deployment that is the service (env COVET_DEPLOYMENT)")
	f.StringVar(&v.service, "service", "", "kubernetes: the Service before it (env COVET_SERVICE)")
	f.StringVar(&v.router, "router", "", "kubernetes: what splits the traffic: "+strings.Join(kube.RouterNames(), ", ")+" (env COVET_ROUTER; default what is there)")
	f.IntVar(&v.keepReleases, "keep-releases", 0, "kubernetes: how many releases are kept after a rollout (env COVET_KEEP_RELEASES; default 20; -1 for all)")
	f.Lookup("keep-releases").DefValue = ""
	f.StringVar(&v.metrics, "metrics", "", "kubernetes: where the pods show covetd's metrics: PORT, PORT/PATH or off (env COVET_METRICS; default by their annotations)")
	must(c.RegisterFlagCompletionFunc("router", cobra.FixedCompletions(kube.RouterNames(), cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("platform", cobra.FixedCompletions([]string{"local", "kubernetes"}, cobra.ShellCompDirectiveNoFileComp)))
}

// target is the service on Kubernetes that is meant, if one is: by the flags, else the environment, else covetctl.yaml.
func (a *app) target() (kube.Target, bool, error) {
	v := a.flags.cluster
	saved, err := a.saved()
	if err != nil {
		return kube.Target{}, false, err
	}
	t := kube.Target{
		Kubeconfig:  cmp.Or(v.kubeconfig, saved.Kubeconfig),
		Context:     cmp.Or(v.context, a.env("COVET_CONTEXT"), saved.Context),
		Namespace:   cmp.Or(v.namespace, a.env("COVET_NAMESPACE"), saved.Namespace),
		Deployment:  cmp.Or(v.deployment, a.env("COVET_DEPLOYMENT"), saved.Deployment),
		Service:     cmp.Or(v.service, a.env("COVET_SERVICE"), saved.Service),
		Router:      cmp.Or(v.router, a.env("COVET_ROUTER"), saved.Router),
		Metrics:     cmp.Or(v.metrics, a.env("COVET_METRICS"), saved.Metrics),
		Environment: cmp.Or(a.env("COVET_ENVIRONMENT"), saved.Environment),
	}
	t.Keep = cmp.Or(v.keepReleases, saved.KeepReleases)
	if text := a.env("COVET_KEEP_RELEASES"); v.keepReleases == 0 && text != "" {
		if t.Keep, err = strconv.Atoi(text); err != nil {
			return t, false, usage("COVET_KEEP_RELEASES %q is not a number", text)
		}
	}
	local := a.flags.socket != "" || a.flags.dataDir != ""
	a.flags.socket, a.flags.dataDir = cmp.Or(a.flags.socket, saved.Socket), cmp.Or(a.flags.dataDir, saved.DataDir)
	switch platform := cmp.Or(v.platform, a.env("COVET_PLATFORM"), saved.Platform); platform {
	case "kubernetes":
		return t, true, nil
	case "local":
		return t, false, nil
	case "":
		named := t.Kubeconfig != "" || t.Context != "" || t.Namespace != "" || t.Deployment != ""
		return t, named && !local, nil
	default:
		return t, false, usage("--platform %q: choose local or kubernetes", platform)
	}
}

// onCluster reaches the service on Kubernetes, once for a run.
func (a *app) onCluster(ctx context.Context, t kube.Target, err error) (console.Port, error) {
	if err != nil || a.cluster != nil {
		return a.cluster, err
	}
	if a.parts.cluster == nil {
		return nil, usage("this covetctl knows no Kubernetes")
	}
	a.cluster, err = a.parts.cluster(ctx, t, false)
	return a.cluster, err
}

// leaveCluster ends what covetctl does for the service on Kubernetes.
func (a *app) leaveCluster() error {
	if c, ok := a.cluster.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func openCluster(ctx context.Context, t kube.Target, once bool) (console.Port, error) {
	p, err := kube.Open(ctx, t, kube.Options{Version: thisBuild().Version, Images: registry.New(), Once: once})
	if err != nil {
		return nil, err // not p, which would be a Port that is not nil
	}
	return p, nil
}

// openOnCluster is the TUI over a service on Kubernetes.
func (a *app) openOnCluster(ctx context.Context, t kube.Target, err error) error {
	switch {
	case err != nil:
		return err
	case a.parts.cluster == nil:
		return usage("this covetctl knows no Kubernetes")
	}
	port := newLatePort(t, func(ctx context.Context, t kube.Target) (console.Port, error) { return a.parts.cluster(ctx, t, true) })
	a.cluster = port
	debug.SetGCPercent(33) // thousands of pods are kept: a little more work for a third less memory
	recovery := func(port console.Port) console.Recovery {
		a.cluster = port // whose service a restore stops
		return backupcmd.Desk{Host: a.backupHost(), Port: port}
	}
	err = a.parts.tui(ctx, port, tuiOptions{
		Recovery: recovery(port), Returned: recovery,
		NoColor: !a.style(a.out).Color, ASCII: a.flags.ascii, Accessible: a.flags.accessible, Theme: a.flags.theme, Target: port.Where(),
	})
	if err != nil {
		return err
	}
	if p, ok := port.there().(unfinisher); ok {
		if id := p.Unfinished(); id != "" {
			return a.note(render.Warn, "nobody carries out %s now that the console is closed: the traffic stays as it is; covetctl rollout resume goes on", id)
		}
	}
	return nil
}

// checkCluster looks at what covetctl needs of a service on Kubernetes.
func (a *app) checkCluster(ctx context.Context, t kube.Target, err error) ([]check, error) {
	port, err := a.onCluster(ctx, t, err)
	if err != nil {
		return []check{failed("cluster", err)}, err
	}
	p, ok := port.(*kube.Port)
	if !ok {
		return nil, nil
	}
	out := []check{{"cluster", "ok", fmt.Sprintf("%s answers %s; the service is %s", p.Server(), p.Who(), p.Where()), ""}}
	if self, who := p.Drives(ctx); self {
		out = append(out, check{"controller", "warning", "none runs: whoever begins a rollout must stay until it has ended", "deploy/kubernetes/controller.yaml"})
	} else {
		out = append(out, check{"controller", "ok", who + " drives", ""})
	}
	out = append(out, checkRoles(ctx, p))
	missing, err := p.Check(ctx)
	if err != nil {
		return append(out, failed("permissions", err)), err
	}
	if len(missing) == 0 {
		return append(out, check{"permissions", "ok", "everything that a rollout needs", ""}), nil
	}
	for _, m := range missing {
		out = append(out, check{"permissions", "warning", "you may not " + m, "deploy/kubernetes/controller-rbac.yaml has the Role"})
	}
	return out, nil
}

// checkRoles says which roles the caller has, by whom they are given.
func checkRoles(ctx context.Context, p *kube.Port) check {
	all, own, err := p.Roles(ctx)
	switch {
	case err != nil:
		return failed("roles", err)
	case len(all) == 0:
		return check{"roles", "ok", "none are given out: whoever the API server lets change the service may decide everything", ""}
	case len(own) == 0:
		return check{"roles", "warning", p.Who() + " has none; they are: " + all.Describe(), "ConfigMap " + kube.RolesObject + " gives them out"}
	}
	return check{"roles", "ok", fmt.Sprintf("%s is %v; they are: %s", p.Who(), own, all.Describe()), ""}
}

// driver is a Port that may have to carry out itself what was asked for.
type driver interface {
	Carries(ctx context.Context, unsure func(who string, longest time.Duration)) (self bool, who string)
	Finish(ctx context.Context) (left string, err error)
}

// carriesOut says who carries out what was asked for. Where it is this program, it must stay until that is done.
func (a *app) carriesOut(ctx context.Context, port console.Port, ack console.Ack, watch bool) (bool, error) {
	d, ok := port.(driver)
	if !ok || ack.Rollout == nil {
		return watch, nil
	}
	unsure := func(who string, longest time.Duration) {
		_ = a.note(render.Idle, "%s holds the lease: making sure that it is alive, for %s at most", who, longest)
	}
	self, who := d.Carries(ctx, unsure)
	if !self {
		return watch, a.note(render.Idle, "%s carries it out; covetctl only watches", who)
	}
	why := "no controller runs, so"
	if who != "" {
		why = "it does not wait for " + who + ":"
	}
	return true, a.note(render.Idle, "%s this covetctl carries it out. Should it end, the traffic stays as it is, and `covetctl rollout resume` or a controller goes on", why)
}

// finish stays until nothing is left that only this program would do, and says what is.
func (a *app) finish(ctx context.Context, port console.Port) error {
	d, ok := port.(driver)
	if !ok {
		return nil
	}
	left, err := d.Finish(ctx)
	if ctx.Err() != nil {
		return &interrupted{message: "stopped before everything was put in order; the traffic is where it should be", hint: "covetctl rollout resume goes on"}
	}
	if err != nil || left == "" {
		return err
	}
	return a.note(render.Idle, "%s", left)
}

// imageLine is what a release runs, for people.
func imageLine(m rollout.Manifest) string {
	if m.Workload != nil {
		return m.Workload.Image()
	}
	return commandLine(m.Command)
}

// addImages records a release of images.
func (a *app) addImages(c *cobra.Command, version string, in console.AddReleaseRequest) error {
	port, err := a.connect(c.Context())
	if err != nil {
		return err
	}
	in.Version = version
	r, err := command[rollout.Release](c.Context(), a, port, console.AddRelease, in)
	if err != nil {
		return err
	}
	return a.showRelease(r)
}

// workload shows what a release of Kubernetes runs.
func (p *page) workload(r rollout.Release) {
	w := r.Manifest.Workload
	p.field("digest", r.Digest)
	for _, name := range sortedKeys(w.Images) {
		p.field("image", render.Clean(fmt.Sprintf("%s: %s", name, w.Images[name])))
	}
	for _, c := range w.Config {
		kept := "not kept"
		if c.Copy != "" {
			kept = "kept as " + c.Copy
		}
		p.field("config", render.Clean(fmt.Sprintf("%s %s, %s", c.Kind, c.Name, kept)))
	}
	if r.Manifest.Instances > 0 {
		p.field("instances", itoa(r.Manifest.Instances))
	}
	p.field("record", w.Record)
}
