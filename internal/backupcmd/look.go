package backupcmd

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/recovery"
)

// environmentFlags are the repository's flags as the environment has them.
func environmentFlags() *repoFlags {
	f := &repoFlags{}
	f.add(&cobra.Command{})
	f.notices = nil // nobody waits
	return f
}

// Look reads what the repository that the environment names holds, and what waits for it on this machine: that also where the
// repository fails.
func Look(ctx context.Context) (recovery.Facts, error) {
	var spool spoolFlags
	spool.add(&cobra.Command{})
	var waiting *backup.SpoolState
	if s := spool.spool(); s != nil {
		st, err := s.State()
		if err != nil {
			return recovery.Facts{}, err
		}
		waiting = &st
	}
	f := environmentFlags()
	f.attempts = 3 // whoever looks again soon needs no patience
	r, err := f.open(ctx)
	if err != nil {
		return recovery.Facts{Spool: waiting}, err
	}
	facts, err := recovery.Look(ctx, r, f.service, backup.SystemID(0), time.Now().UTC())
	facts.Spool = waiting
	return facts, err
}

// Database is the server that the environment names; empty where it names none.
func Database() string {
	f := &repoFlags{databaseURL: cmp.Or(os.Getenv("BACKUP_DATABASE_URL"), os.Getenv("DATABASE_URL"))}
	dsn, err := f.database()
	if err != nil {
		return ""
	}
	return dsn
}
