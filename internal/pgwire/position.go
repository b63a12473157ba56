package pgwire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/recovery"
)

// ReadPosition asks a server how far its log is, and whether anything is being written.
func ReadPosition(ctx context.Context, dsn string) (p recovery.Position, err error) {
	c, err := dial(ctx, dsn, nil)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	id, err := c.row("IDENTIFY_SYSTEM", 3)
	if err != nil {
		return p, fmt.Errorf("identify the server: %w", err)
	}
	if p.System, err = backup.ParseSystemID(id[0]); err != nil {
		return p, fmt.Errorf("identify the server: %w", err)
	}
	r, err := c.row(`SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END,
		pg_snapshot_xmax(s), pg_snapshot_xmin(s) = pg_snapshot_xmax(s), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
		FROM pg_current_snapshot() s`, 4)
	if err != nil {
		return p, fmt.Errorf("read the server's position: %w", err)
	}
	p.At = time.Now().UTC()
	if p.LSN, err = backup.ParseLSN(r[0]); err != nil {
		return p, fmt.Errorf("read the server's position: %w", err)
	}
	if p.NextXID, err = strconv.ParseUint(r[1], 10, 64); err != nil {
		return p, fmt.Errorf("read the server's position: %w", err)
	}
	clock, err := strconv.ParseInt(r[3], 10, 64)
	if err != nil {
		return p, fmt.Errorf("read the server's clock: %w", err)
	}
	p.Quiet, p.Clock = r[2] == "t", time.UnixMicro(clock).UTC()
	return p, nil
}
