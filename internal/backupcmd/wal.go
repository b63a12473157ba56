package backupcmd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
)

// Exit codes of wal fetch. PostgreSQL takes up to 125 for "it isn't there", and ends recovery where it is; what can't be
// known must be above, which stops recovery instead of letting it end too early.
const (
	exitNotArchived = 1
	exitFatal       = 200 // added to the exit code that the failure has elsewhere
)

func pushCommand() *cobra.Command {
	var f repoFlags
	cmd := &cobra.Command{
		Use:   "push PATH",
		Short: "Archive one WAL file: the archive_command",
		Long: `Archive one WAL file. When it succeeds, the file is durable in the repository. In postgresql.conf:

archive_command = 'covetctl wal push %p'

A file that is there already with the same content is accepted; one with another content is refused, and nothing is
overwritten. So is a segment of another database cluster, and one that is damaged.`,
		Example: `  covetctl wal push %p
  covetctl wal push %p --repo s3://backups/prod --service orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return failed(f.push(cmd, args[0])) },
	}
	f.add(cmd)
	f.addCompression(cmd)
	f.addSystem(cmd)
	return cmd
}

func (f *repoFlags) push(cmd *cobra.Command, path string) error {
	codec, err := f.codec()
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	id, err := f.walSystem(data)
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	repo, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	if _, err := repo.Cluster(f.service, id).PushWAL(cmd.Context(), name, data, codec); err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	return nil
}

// walSystem is the cluster that the WAL belongs to: that of --system; that of the data directory, in which PostgreSQL
// runs these commands; or, where neither is known, the one that the segment names.
func (f *repoFlags) walSystem(segment []byte) (backup.SystemID, error) {
	if f.system != "" {
		id, err := backup.ParseSystemID(f.system)
		if err != nil {
			return 0, usage(err)
		}
		return id, nil
	}
	id, err := systemHere()
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if h, err := backup.ParseSegmentHeader(segment); err == nil {
		return h.System, nil
	}
	return 0, usage(errors.New("run it in the data directory, as PostgreSQL does, or name the cluster with --system"))
}

// systemHere reads the system identifier, the first eight bytes of pg_control, in the present directory.
func systemHere() (backup.SystemID, error) {
	f, err := os.Open(filepath.Join("global", "pg_control"))
	if err != nil {
		return 0, err
	}
	var b [8]byte
	_, err = f.ReadAt(b[:], 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("read global/pg_control: %w", err)
	}
	return backup.SystemID(binary.LittleEndian.Uint64(b[:])), nil
}

func fetchCommand() *cobra.Command {
	var f repoFlags
	cmd := &cobra.Command{
		Use:   "fetch NAME PATH",
		Short: "Fetch one WAL file: the restore_command",
		Long: `Fetch one WAL file from the repository to a path. In postgresql.auto.conf, where restore sets it:

restore_command = 'covetctl wal fetch %f %p'

Exits with 1 where the repository hasn't got the file: PostgreSQL then ends recovery, or waits. Whatever else goes wrong
exits with more than 125, which makes PostgreSQL stop: a repository that can't be reached must not look like the end of
the log.`,
		Example: `  covetctl wal fetch %f %p`,
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return fetchCode(f.fetch(cmd, args[0], args[1])) },
	}
	f.add(cmd)
	f.addSystem(cmd)
	return cmd
}

func (f *repoFlags) fetch(cmd *cobra.Command, name, path string) error {
	id, err := f.walSystem(nil)
	if err != nil {
		return err
	}
	repo, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	data, err := repo.Cluster(f.service, id).FetchWAL(cmd.Context(), name)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	temp := path + ".covet"
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	return nil
}

// fetchCode gives an error of wal fetch the exit code by which PostgreSQL understands it.
func fetchCode(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrNotFound):
		return &exitError{err, exitNotArchived}
	}
	var e ExitError
	if errors.As(failed(err), &e) {
		return &exitError{err, exitFatal + e.ExitCode()}
	}
	return &exitError{err, exitFatal + exitFailed}
}
