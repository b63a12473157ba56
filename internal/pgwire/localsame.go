package pgwire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// same makes sure that the directory is the server's. The system identifier does not tell: a standby has its primary's, and
// as a rule lies at the same place of another machine. Its files beside the primary's log would be a backup that
// recovers without an error, to tables in which writes are missing.
func (l *Local) same(srv Server) error {
	id, err := controlSystem(l.dir)
	if err != nil {
		return fmt.Errorf("%s is not a data directory that can be read: %w (run this as the user of the server)", l.dir, err)
	}
	if id != srv.System {
		return fmt.Errorf("%s belongs to the database system %s, the server is %s", l.dir, id, srv.System)
	}
	seen, err := l.leavesTrace()
	var refused *pgconn.PgError
	if errors.As(err, &refused) { // it has no slot to give
		if err = l.c.ready(); err == nil {
			seen, err = l.startedWith()
		}
	}
	if err != nil {
		return fmt.Errorf("make sure that %s is the server's directory: %w", l.dir, err)
	}
	if !seen {
		return fmt.Errorf("the server does not work in %s: that is another server's directory, such as its standby's; run this on the server's machine, or leave --pgdata out", l.dir)
	}
	return nil
}

// leavesTrace reports whether what the server does is to be seen in the directory: a temporary slot has a folder there.
func (l *Local) leavesTrace() (bool, error) {
	slot := "covet_here_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	if _, err := l.c.row("CREATE_REPLICATION_SLOT "+slot+" TEMPORARY PHYSICAL", 1); err != nil {
		return false, err
	}
	_, err := os.Stat(filepath.Join(l.dir, "pg_replslot", slot))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // the slot goes with the connection
	}
	if err != nil {
		return false, err
	}
	return true, l.c.exec("DROP_REPLICATION_SLOT " + slot)
}

// startTolerance is how far the start of a server's process may lie before the start that it tells of.
const startTolerance = 10 * time.Second

// startedWith reports whether the directory's postmaster.pid is of a process that started when the server did, and the directory is the
// one that the server calls its own, where it tells.
func (l *Local) startedWith() (bool, error) {
	row, err := l.c.row("SELECT extract(epoch FROM pg_postmaster_start_time())::bigint, (SELECT coalesce(max(setting), '') FROM pg_settings WHERE name = 'data_directory')", 2)
	if err != nil {
		return false, err
	}
	if row[1] == "" {
		return false, errors.New("it has no replication slot to give, and this role may not see data_directory: GRANT pg_read_all_settings to it, or raise max_replication_slots")
	}
	own1, err1 := os.Stat(l.dir)
	its1, err2 := os.Stat(row[1])
	if err1 != nil || err2 != nil || !os.SameFile(own1, its1) {
		return false, nil //nolint:nilerr // what isn't on this machine isn't this directory
	}
	its, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return false, fmt.Errorf("the server started at %q: %w", row[0], err)
	}
	text, err := os.ReadFile(filepath.Join(l.dir, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) < 3 {
		return false, errors.Join(err, errors.New("its postmaster.pid cannot be read"))
	}
	own, err := strconv.ParseInt(strings.TrimSpace(lines[2]), 10, 64)
	if err != nil {
		return false, fmt.Errorf("its postmaster.pid cannot be read: %w", err)
	}
	return time.Duration(its-own)*time.Second >= -time.Second && time.Duration(its-own)*time.Second <= startTolerance, nil
}
