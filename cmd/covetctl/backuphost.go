package main

import (
	"context"
	"path/filepath"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/ops/console"
)

// backupHost is what the commands of backup and restore need of covetctl.
func (a *app) backupHost() backupcmd.Host {
	return backupcmd.Host{
		Sources:  a.sources,
		StateDir: a.dataDir,
		Flags: func() []string {
			var out []string
			if a.flags.socket != "" {
				out = append(out, "--socket="+absolute(a.flags.socket))
			}
			if dir := a.namedDataDir(); dir != "" {
				out = append(out, "--data-dir="+absolute(dir))
			}
			return out
		},
		Service: func(ctx context.Context) (console.Port, error) {
			port, _, err := a.connectAnyhow(ctx)
			return port, err
		},
	}
}

// absolute is a path for a process that may run elsewhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
