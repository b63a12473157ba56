// Package backupcmd is the command line of backup and restore: covetctl backup, wal and restore. A command parses,
// calls one function of ops/backup or ops/restore, and prints.
package backupcmd

import (
	"github.com/spf13/cobra"
)

// Commands returns the commands for covetctl to add. from says where settings are from that the environment hasn't been
// given by a person; nil: all are.
func Commands(from Sources) []*cobra.Command {
	return []*cobra.Command{backupCommand(from), walCommand(), restoreCommand()}
}

func backupCommand(from Sources) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back PostgreSQL up, and look after the backups",
		Long: `Back PostgreSQL up to a directory or an S3 bucket, and look after the backups.

The repository is named by --repo or COVET_REPO: file:///DIR or s3://BUCKET/PREFIX. The database is named by
--database-url or DATABASE_URL; its role needs the REPLICATION attribute.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(runCommand(), listCommand(), showCommand(), verifyCommand(), gapsCommand(), expireCommand(), initCommand(), scheduleCommand(), configCommand(from))
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
	cmd.AddCommand(pushCommand(), fetchCommand(), receiveCommand())
	return cmd
}
