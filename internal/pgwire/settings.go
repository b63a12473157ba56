package pgwire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Settings are those of a server that decide whether it can be backed up and archived.
type Settings struct {
	Server
	WALLevel       string
	WALSenders     int    // max_wal_senders
	SendersUsed    int    // at present, this connection's not counted
	Slots          int    // max_replication_slots
	SlotsUsed      int    // at present
	ArchiveMode    string // off, on or always
	ArchiveCommand string
	ArchiveTimeout int    // seconds; 0: none
	ArchiveFailed  string // the last file that could not be archived, where nothing was archived since
	Recovering     bool   // a standby
}

// ReadSettings asks a server for its settings, over the connection that a backup would use.
func ReadSettings(ctx context.Context, dsn string) (s Settings, err error) {
	c, err := dial(ctx, dsn, nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if s.Server, err = c.identify(); err != nil {
		return s, err
	}
	r, err := c.row(`SELECT current_setting('wal_level'), current_setting('max_wal_senders'),
		(SELECT count(*) FROM pg_stat_replication), current_setting('max_replication_slots'),
		(SELECT count(*) FROM pg_replication_slots), current_setting('archive_mode'), current_setting('archive_command'),
		(SELECT setting FROM pg_settings WHERE name = 'archive_timeout'),
		(SELECT coalesce(last_failed_wal, '') FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')),
		pg_is_in_recovery()`, 10)
	if err != nil {
		return s, fmt.Errorf("read the server's settings: %w", err)
	}
	s.WALLevel, s.ArchiveMode, s.ArchiveCommand, s.ArchiveFailed, s.Recovering = r[0], r[5], r[6], r[8], r[9] == "t"
	for i, to := range map[int]*int{1: &s.WALSenders, 2: &s.SendersUsed, 3: &s.Slots, 4: &s.SlotsUsed, 7: &s.ArchiveTimeout} {
		if *to, err = strconv.Atoi(r[i]); err != nil {
			return s, fmt.Errorf("read the server's settings: %w", err)
		}
	}
	return s, nil
}

// Apply changes settings with ALTER SYSTEM, which needs a superuser or the right to it, and reloads the configuration.
func Apply(ctx context.Context, dsn string, settings map[string]string) (err error) {
	c, err := dial(ctx, dsn, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for name, value := range settings {
		if err := c.exec("ALTER SYSTEM SET " + name + " = " + quote(value)); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return c.exec("SELECT pg_reload_conf()")
}

// exec runs one statement and drops what it yields.
func (c *conn) exec(sql string) error {
	if err := c.query(sql); err != nil {
		return err
	}
	if _, err := c.rows(); err != nil {
		return err
	}
	return c.ready()
}
