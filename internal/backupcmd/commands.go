// Package backupcmd is the command line of backup and restore: covetctl backup, wal and restore. A command parses,
// calls one function of ops/backup or ops/restore, and prints.
package backupcmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
)

// Host is what the commands need of the program that they are part of.
type Host struct {
	Sources Sources // where settings are from that nobody gave the environment
	// Service reaches the service whose database is restored: covetd, or its journal where it doesn't run. A port that is an
	// io.Closer is closed after use. nil: there is none.
	Service func(ctx context.Context) (console.Port, error)
	// StateDir is where the records of restores are kept; nil: in the user's state folder.
	StateDir func() string
	// Flags are those by which another process of this program finds the same service; nil: none are needed.
	Flags func() []string
}

// Commands returns the commands for covetctl to add.
func Commands(h Host) []*cobra.Command {
	return []*cobra.Command{backupCommand(h), walCommand(), restoreCommand(h)}
}

func backupCommand(h Host) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back PostgreSQL up, and look after the backups",
		Long: `Back PostgreSQL up to a directory or an S3 bucket, and look after the backups.

The repository is named by --repo or COVET_REPO: file:///DIR or s3://BUCKET/PREFIX. The database is named by
--database-url or DATABASE_URL; its role needs the REPLICATION attribute.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(runCommand(), listCommand(), showCommand(), verifyCommand(), gapsCommand(), expireCommand(&h), initCommand(), scheduleCommand(), configCommand(h.Sources))
	return cmd
}

func walCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "Archive and fetch the write-ahead log",
		Long:  `Archive and fetch the write-ahead log: the archive_command and restore_command of PostgreSQL.`,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pushCommand(), fetchCommand(), receiveCommand(), agentCommand(), drainCommand(), walStatusCommand(), prefetchCommand())
	return cmd
}
