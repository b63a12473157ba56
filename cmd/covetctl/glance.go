package main

import (
	"context"
	"os"
	"time"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/recovery"
)

// glanceLimit is how long a status waits for the backups where no covetd looks after them.
const glanceLimit = time.Second

// glance is how recoverable the database is, found out by this program: nobody else does. Where the backups are is told by the
// environment, or by what the covetd that isn't running has left.
func (a *app) glance(ctx context.Context, st console.Status) *recovery.Summary {
	if st.Recovery != nil || !st.Offline && st.Platform != "kubernetes" {
		return st.Recovery
	}
	var seen []recovery.Position
	if st.Offline {
		a.adoptRepository()
		seen = a.positions()
	}
	return backupcmd.Glance(ctx, glanceLimit, seen)
}

// adoptRepository makes what the covetd of the data directory has left of where its backups are the environment of this
// process, where that doesn't say otherwise: the adapters read it.
func (a *app) adoptRepository() {
	dir := a.dataDir()
	if dir == "" {
		return
	}
	settings, err := local.ReadRepository(dir)
	if err != nil {
		return // nobody has left any
	}
	for name, value := range settings {
		if a.env(name) == "" {
			_ = os.Setenv(name, value) // names that came from an environment are names
		}
	}
}

// positions are what that covetd knew of the database server's log; none where it left none: the recovery point is estimated then.
func (a *app) positions() []recovery.Position {
	dir := a.dataDir()
	if dir == "" {
		return nil
	}
	seen, err := local.ReadPositions(dir)
	if err != nil {
		return nil
	}
	return seen
}
