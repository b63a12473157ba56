package backupcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// guard does something that reads a backup, which is kept from expiring meanwhile, and its log for a time after it, where a server is still to
// replay it: until is when that ends. Where it cannot be announced, as by somebody who may only read the repository, it is done all the
// same, and warn hears of it.
func guard(ctx context.Context, c backup.Cluster, id string, after time.Duration, warn func(error), do func() error) (until time.Time, err error) {
	r, err := c.Read(ctx, id)
	if err != nil {
		warn(fmt.Errorf("backup %s is not kept from expiring while it is restored: %w", id, err))
		return until, do()
	}
	if err := do(); err != nil || after == 0 {
		if ended := r.End(ctx); ended != nil && err == nil {
			warn(fmt.Errorf("that backup %s is being restored stays announced for some minutes: %w", id, ended))
		}
		return until, err
	}
	at := time.Now().Add(after)
	if err := r.Leave(ctx, at); err != nil {
		warn(fmt.Errorf("the log from backup %s on is not kept from expiring until the restored server has replayed it: %w", id, err))
		return until, nil
	}
	return at, nil
}
