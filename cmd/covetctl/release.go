package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

func (a *app) releaseCommand() *cobra.Command {
	return a.group(&cobra.Command{Use: "release", Short: "Record, list and remove releases",
		Long: "A release is a version of the service with the command and the configuration it runs with. It never changes."},
		a.releaseAdd(), a.releaseList(), a.releaseShow(), a.releaseRemove(), a.releasePrune())
}

func (a *app) releaseList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List releases, newest first", Args: none, Example: "covetctl release list\ncovetctl release list -q",
		RunE: func(c *cobra.Command, _ []string) error {
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			list, err := ask[[]rollout.Release](c.Context(), a, port, console.GetReleases, console.Query{})
			if err != nil {
				return err
			}
			roles, err := a.roles(c.Context(), port)
			if err != nil {
				return err
			}
			return a.show(answer{value: list, names: ids(list, func(r rollout.Release) string { return r.Version }), page: func(p *page) { p.releaseList(list, roles) }})
		},
	}
}

// roles is what the releases that run are to the service.
func (a *app) roles(ctx context.Context, port console.Port) (map[string]console.Role, error) {
	if !a.human() {
		return nil, nil
	}
	st, err := ask[console.Status](ctx, a, port, console.GetStatus, console.Query{})
	if err != nil {
		return nil, err
	}
	out := make(map[string]console.Role)
	if st.Previous != "" {
		out[st.Previous] = "previous"
	}
	for _, r := range st.Releases {
		out[r.Version] = r.Role
	}
	return out, nil
}

func (p *page) releaseList(list []rollout.Release, roles map[string]console.Role) {
	if len(list) == 0 {
		p.line("No release yet: covetctl release add VERSION -- COMMAND")
		return
	}
	t := p.newTable("VERSION", "ROLE", "DIGEST", ">INSTANCES", "ADDED", "BY", "COMMAND")
	for _, r := range list {
		role := ""
		if known := roles[r.Version]; known != "" {
			role = p.Mark(roleTone(known), string(known))
		}
		t.Row(r.Version, role, r.Digest[:min(12, len(r.Digest))], itoa(r.Manifest.Instances), p.age(r.AddedAt), render.Clean(r.AddedBy),
			render.Clean(imageLine(r.Manifest)))
	}
	p.table(t)
}

func commandLine(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, w := range words {
		quoted = append(quoted, quote(w))
	}
	return strings.Join(quoted, " ")
}

func (a *app) releaseShow() *cobra.Command {
	return &cobra.Command{
		Use: "show VERSION", Short: "Show a release", Args: versionArg, ValidArgsFunction: a.versions(),
		Long:    "Show a release: its command, environment (secrets hidden) and limits.",
		Example: "covetctl release show v1.1.0\ncovetctl release show v1.1.0 -o yaml",
		RunE: func(c *cobra.Command, args []string) error {
			port, _, err := a.connectAnyhow(c.Context())
			if err != nil {
				return err
			}
			r, err := ask[rollout.Release](c.Context(), a, port, console.GetRelease, console.Query{ID: args[0]})
			if err != nil {
				return a.meant(c.Context(), port, args[0], err)
			}
			return a.showRelease(r)
		},
	}
}

func (a *app) showRelease(r rollout.Release) error {
	return a.show(answer{value: r, names: []string{r.Version}, page: func(p *page) { p.release(r) }})
}

func (p *page) release(r rollout.Release) {
	m := r.Manifest
	p.line("%s  added %s by %s", p.Strong(r.Version), p.age(r.AddedAt), render.Clean(r.AddedBy))
	if m.Workload != nil {
		p.workload(r)
		return
	}
	p.field("digest", r.Digest)
	p.field("command", render.Clean(commandLine(m.Command)))
	p.field("executable", m.Executable)
	p.field("directory", render.Clean(m.Dir))
	p.field("instances", itoa(m.Instances))
	p.field("ready", fmt.Sprintf("%s within %s", render.Clean(m.ReadyPath), m.ReadyTimeout))
	p.field("stop", fmt.Sprintf("drain %s, then %s from SIGTERM to SIGKILL", m.DrainTimeout, m.StopGrace))
	for _, k := range sortedKeys(m.Env) {
		p.field("env", render.Clean(k+"="+m.Env[k]))
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) releaseRemove() *cobra.Command {
	var in console.Target
	var yes bool
	c := &cobra.Command{
		Use: "remove VERSION", Short: "Forget a release that nothing uses", Args: versionArg, ValidArgsFunction: a.versions(),
		Example: "covetctl release remove v0.9.0 --plan\ncovetctl release remove v0.9.0 --yes",
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = args[0]
			if !yes && !in.Plan {
				e := usage("release remove %s: rollback to it will not be possible any more", in.ID)
				e.Hint = "say --yes to remove it, or --plan to see what that does"
				return e
			}
			port, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			return a.meant(c.Context(), port, in.ID, a.act(c.Context(), port, console.RemoveRelease, in, in.Plan, false, nil))
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "really")
	c.Flags().BoolVar(&in.Plan, "plan", false, "show what would happen, do nothing")
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the audit log")
	return c
}

func (a *app) releasePrune() *cobra.Command {
	in := console.PruneRequest{Keep: console.KeepReleases}
	var yes bool
	c := &cobra.Command{
		Use: "prune", Short: "Forget the releases that nothing needs any more", Args: none,
		Long: `Forget all but the newest releases. What runs, and what a rollback may go to, stays whatever its age. On Kubernetes the
records go too, and the copies of ConfigMaps and Secrets that only they are configured by; a rollout does the same by itself
when it has ended, keeping --keep-releases.`,
		Example: "covetctl release prune --keep 10 --plan\ncovetctl release prune --keep 10 --yes",
		RunE: func(c *cobra.Command, _ []string) error {
			if !yes && !in.Plan {
				e := usage("release prune: rollback to what is forgotten will not be possible any more")
				e.Hint = "say --yes to forget them, or --plan to see which"
				return e
			}
			port, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			return a.act(c.Context(), port, console.PruneReleases, in, in.Plan, false, nil)
		},
	}
	c.Flags().IntVar(&in.Keep, "keep", console.KeepReleases, "how many of the newest to keep")
	c.Flags().BoolVar(&yes, "yes", false, "really")
	commonFlags(c, &in.Common)
	return c
}
