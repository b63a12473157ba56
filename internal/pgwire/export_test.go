package pgwire

import (
	"context"
	"errors"
)

// Identify asks a server who it is.
func Identify(ctx context.Context, dsn string) (s Server, err error) {
	c, err := dial(ctx, dsn, nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return c.identify()
}
