package backupcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/covetpy/covet/ops/backup"
)

// guard does something that reads a backup, which is kept from expiring meanwhile. Where that cannot be announced, as by somebody who may only
// read the repository, it is done all the same, and warn hears of it.
func guard(ctx context.Context, c backup.Cluster, id string, warn func(error), do func() error) error {
	release, err := c.Reading(ctx, id)
	if err != nil {
		warn(fmt.Errorf("backup %s is not kept from expiring while it is restored: %w", id, err))
		return do()
	}
	err = do()
	if released := release(ctx); released != nil && err == nil {
		warn(fmt.Errorf("that backup %s is being restored stays announced for some minutes: %w", id, released))
	}
	return errors.Join(err)
}
