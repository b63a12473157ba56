package pgwire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup/walside"
)

// same makes sure that the directory is the server's. The system identifier does not tell: a standby has its primary's, and
// as a rule lies at the same place of another machine. Its files beside the primary's log would be a backup that
// recovers without an error, to tables in which writes are missing.
func (l *Local) same(srv Server) error {
	system, err := walside.System(l.dir)
	if err != nil {
		return fmt.Errorf("%s is not a data directory that can be read: %w (run this as the user of the server)", l.dir, err)
	}
	if system != srv.System.String() {
		return fmt.Errorf("%s belongs to the database system %s, the server is %s", l.dir, system, srv.System)
	}
	seen, err := l.leavesTrace()
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return fmt.Errorf("nothing proves that %s is the server's directory, which takes a free replication slot: %w; raise max_replication_slots, or leave --pgdata out", l.dir, err)
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
