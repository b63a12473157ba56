package pgwire

import (
	"context"
	"errors"
	"fmt"
)

// DataDirectory asks a server where its files are. The role needs to be a superuser or a member of pg_read_all_settings.
func DataDirectory(ctx context.Context, dsn string) (dir string, err error) {
	c, err := dial(ctx, dsn, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	r, err := c.row("SHOW data_directory", 1)
	if err != nil {
		return "", fmt.Errorf("ask for the data directory: %w", err)
	}
	return r[0], nil
}
