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
	if dir := a.dataDir(); st.Offline && dir != "" {
		settings, err := local.ReadRepository(dir)
		if err == nil {
			for name, value := range settings {
				if a.env(name) == "" && os.Setenv(name, value) != nil { // the adapters read the environment
					return nil
				}
			}
		}
		if seen, err = local.ReadPositions(dir); err != nil {
			seen = nil // the recovery point is estimated without them
		}
	}
	return backupcmd.Glance(ctx, glanceLimit, seen)
}
