package main

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/ops/console"
)

// backupHost is what the commands of backup and restore need of covetctl.
func (a *app) backupHost() backupcmd.Host {
	return backupcmd.Host{Sources: a.sources, StateDir: a.dataDir, Flags: a.serviceFlags, Service: a.restoredService}
}

// serviceFlags are those by which another covetctl of the same person finds the service that this one would.
func (a *app) serviceFlags() []string {
	c := a.flags.cluster
	flags := [][2]string{{"--socket", absolute(a.flags.socket)}, {"--data-dir", absolute(a.namedDataDir())}, {"--platform", c.platform}}
	if settled, ok := a.cluster.(interface{ Flags() []string }); ok { // whatever has become of the kubeconfig's current context
		for pair := range slices.Chunk(settled.Flags(), 2) {
			flags = append(flags, [2]string{pair[0], pair[1]})
		}
	} else {
		flags = append(flags, [][2]string{{"--kubeconfig", c.kubeconfig}, {"--context", c.context}, {"--namespace", c.namespace}, {"--deployment", c.deployment}}...)
	}
	var out []string
	for _, f := range flags {
		if f[0] == "--kubeconfig" {
			f[1] = absolute(f[1])
		}
		if f[1] != "" {
			out = append(out, f[0]+"="+f[1])
		}
	}
	return out
}

// restoredService reaches the service whose database is restored. On a cluster it is reached once: what the restore leads to
// there is carried out by this program, where no controller runs. COVET_SERVICE names the database's service in the repository
// here, and not a Service of Kubernetes.
func (a *app) restoredService(ctx context.Context) (console.Port, error) {
	t, ok, err := a.target()
	if !ok && err == nil {
		port, _, err := a.reach(ctx)
		return port, err
	}
	t.Service = a.flags.cluster.service
	port, err := a.onCluster(ctx, t, err)
	if err != nil {
		return nil, err
	}
	return keptOpen{port}, nil
}

// keptOpen hides that a port can be closed: it is, when the program ends.
type keptOpen struct{ console.Port }

// absolute is a path for a process that may run elsewhere.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
