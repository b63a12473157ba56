package main

import (
	"context"
	"path/filepath"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/ops/console"
)

// backupHost is what the commands of backup and restore need of covetctl.
func (a *app) backupHost() backupcmd.Host {
	return backupcmd.Host{Sources: a.sources, StateDir: a.dataDir, Flags: a.serviceFlags, Service: a.restoredService}
}

// serviceFlags are those by which another covetctl of the same person finds the service that this one would.
func (a *app) serviceFlags() []string {
	var out []string
	c := a.flags.cluster
	for _, f := range []struct{ name, value string }{
		{"socket", absolute(a.flags.socket)}, {"data-dir", absolute(a.namedDataDir())}, {"platform", c.platform}, {"kubeconfig", absolute(c.kubeconfig)},
		{"context", c.context}, {"namespace", c.namespace}, {"deployment", c.deployment},
	} {
		if f.value != "" {
			out = append(out, "--"+f.name+"="+f.value)
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
