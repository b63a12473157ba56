package pgwire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// oldest is the first server version that is supported, as server_version_num.
const oldest = 140000

// Server is what a server says of itself.
type Server struct {
	System      backup.SystemID
	Timeline    backup.Timeline
	At          backup.LSN // where its log ends at present
	Version     int        // server_version_num
	SegmentSize int64      // of WAL, bytes
	Checksums   bool       // pages have them
	Archiving   bool       // archive_mode isn't off
	Time        time.Time
}

// dial is connect with an explanation of what commonly goes wrong.
func dial(ctx context.Context, dsn string, notice func(*pgconn.PgError)) (*conn, error) {
	c, err := connect(ctx, dsn, notice)
	var pe *pgconn.PgError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &pe) && pe.Code == "42501":
		return nil, fmt.Errorf("connect for replication: %w (give the role the attribute: ALTER ROLE … REPLICATION)", err)
	case errors.As(err, &pe) && pe.Code == "28000":
		return nil, fmt.Errorf("connect for replication: %w (pg_hba.conf must let the role in from this host)", err)
	case errors.As(err, &pe) && pe.Code == "53300":
		return nil, fmt.Errorf("connect for replication: %w (raise max_wal_senders, or end another replication)", err)
	}
	return nil, fmt.Errorf("connect for replication: %w", err)
}

func (c *conn) identify() (s Server, err error) {
	id, err := c.row("IDENTIFY_SYSTEM", 3)
	if err != nil {
		return s, err
	}
	if s.System, err = backup.ParseSystemID(id[0]); err != nil {
		return s, err
	}
	tli, err := strconv.ParseUint(id[1], 10, 32)
	if err != nil {
		return s, fmt.Errorf("IDENTIFY_SYSTEM: timeline: %w", err)
	}
	s.Timeline = backup.Timeline(tli)
	if s.At, err = backup.ParseLSN(id[2]); err != nil {
		return s, err
	}
	set, err := c.row(`SELECT current_setting('server_version_num'), current_setting('data_checksums'),
		(SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'), extract(epoch FROM clock_timestamp()),
		current_setting('archive_mode')`, 5)
	if err != nil {
		return s, err
	}
	if s.Version, err = strconv.Atoi(set[0]); err != nil {
		return s, fmt.Errorf("server_version_num: %w", err)
	}
	if s.Version < oldest {
		return s, fmt.Errorf("the server is PostgreSQL %d; %d and later are supported", s.Version/10000, oldest/10000)
	}
	s.Checksums, s.Archiving = set[1] == "on", set[4] != "off"
	if s.SegmentSize, err = strconv.ParseInt(set[2], 10, 64); err != nil {
		return s, fmt.Errorf("wal_segment_size: %w", err)
	}
	s.Time, err = parseEpoch(set[3])
	return s, err
}

// now is the server's clock.
func (c *conn) now() (time.Time, error) {
	r, err := c.row("SELECT extract(epoch FROM clock_timestamp())", 1)
	if err != nil {
		return time.Time{}, err
	}
	return parseEpoch(r[0])
}

// parseEpoch reads seconds with up to six decimals.
func parseEpoch(s string) (time.Time, error) {
	f, err := time.ParseDuration(s + "s")
	if err != nil {
		return time.Time{}, fmt.Errorf("the server's time %q: %w", s, err)
	}
	return time.Unix(0, int64(f)).UTC(), nil
}
