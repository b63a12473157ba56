package backupcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/backup/walside"
)

// Exit codes of wal fetch. PostgreSQL takes up to 125 for "it isn't there", and ends recovery where it is; what can't be
// known must be above, which stops recovery instead of letting it end too early. A standby never ends recovery by itself: it
// asks again, and would be stopped for nothing.
const (
	exitNotArchived = 1
	exitFatal       = 200 // added to the exit code that the failure has elsewhere
)

// walSystem is the cluster that the WAL belongs to: that of --system; that of the data directory, in which PostgreSQL
// runs these commands; or, where neither is known, the one that the segment at path names.
func (f *repoFlags) walSystem(path string) (backup.SystemID, error) {
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
	h, err := segmentHeader(path)
	if err == nil {
		return h.System, nil
	}
	if path != "" && errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return 0, usage(errors.New("run it in the data directory, as PostgreSQL does, or name the cluster with --system"))
}

func segmentHeader(path string) (backup.SegmentHeader, error) {
	f, err := os.Open(path)
	if err != nil {
		return backup.SegmentHeader{}, err
	}
	var b [40]byte
	_, err = io.ReadFull(f, b[:])
	if err := errors.Join(err, f.Close()); err != nil {
		return backup.SegmentHeader{}, err
	}
	return backup.ParseSegmentHeader(b[:])
}

// systemHere reads the system identifier of the data directory that is the present one.
func systemHere() (backup.SystemID, error) {
	text, err := walside.System(".")
	if err != nil {
		return 0, fmt.Errorf("read global/pg_control: %w", err)
	}
	return backup.ParseSystemID(text)
}

// fetchFlags are those of wal fetch.
type fetchFlags struct {
	repoFlags
	spoolFlags
	ahead int
}

func fetchCommand() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:   "fetch NAME PATH",
		Short: "Fetch one WAL file: the restore_command",
		Long: `Fetch one WAL file from the repository to a path. In postgresql.auto.conf, where restore sets it:

restore_command = 'covetctl wal fetch %f %p'

While a server recovers, the segments that it will want next are fetched in the background, into pg_wal/.covet, which
is removed when the recovery ends.

Exits with 1 where the repository hasn't got the file: PostgreSQL then ends recovery, or waits. Whatever else goes wrong
exits with more than 125, which makes PostgreSQL stop: a repository that can't be reached must not look like the end of
the log. On a standby (standby.signal) it exits with 5 or 6 instead, and PostgreSQL asks again.`,
		Example: `  covetctl wal fetch %f %p`,
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return fetchCode(f.fetch(cmd, args[0], args[1])) },
	}
	f.repoFlags.add(cmd)
	f.addSystem(cmd)
	f.spoolFlags.add(cmd)
	cmd.Flags().IntVar(&f.ahead, "ahead", 8, "how many segments to fetch before the recovery wants them; 0: none")
	return cmd
}

func (f *fetchFlags) fetch(cmd *cobra.Command, name, path string) error {
	brief()
	ctx := cmd.Context()
	id, err := f.walSystem("")
	if err != nil {
		return err
	}
	pre, ahead := f.prefetched(name, path, id)
	if ahead && pre.Take(ctx, name, path) {
		return f.keepFetching(pre, id, path)
	}
	repo, err := f.open(ctx)
	if err != nil {
		return err
	}
	c := repo.Cluster(f.service, id)
	content, whole, err := f.read(ctx, c, name)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	if err := place(path, content); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	if ahead && whole && pre.Want(name) == nil {
		return f.keepFetching(pre, id, path)
	}
	return nil
}

// place makes a file whole or not at all.
func place(path string, content io.WriterTo) error {
	temp := path + ".covet"
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = content.WriteTo(file)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // on a full disk what is left of it would be in the way of more
	}
	return err
}

// read gets a file from the repository, or from the spool on its way there. whole is false for a segment of which only
// the beginning is there.
func (f *fetchFlags) read(ctx context.Context, c backup.Cluster, name string) (content io.WriterTo, whole bool, err error) {
	r := backup.WALReader{Cluster: c}
	content, err = r.Read(ctx, name)
	if !errors.Is(err, backup.ErrNotFound) {
		return content, true, err
	}
	if s := f.spool(); s != nil {
		data, spoolErr := s.Read(c, name)
		if !errors.Is(spoolErr, fs.ErrNotExist) {
			return bytes.NewReader(data), true, spoolErr
		}
	}
	data, err := c.FetchWAL(ctx, name)
	return bytes.NewReader(data), false, err
}

// fetchCode gives an error of wal fetch the exit code by which PostgreSQL understands it.
func fetchCode(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrNotFound):
		return &exitError{err, exitNotArchived}
	}
	code := exitFailed
	var e ExitError
	if errors.As(failed(err), &e) {
		code = e.ExitCode()
	}
	if !standbyHere() {
		code += exitFatal
	}
	return &exitError{err, code}
}

// standbyHere says whether the present directory is the data directory of a standby.
func standbyHere() bool {
	_, err := os.Lstat("standby.signal")
	return err == nil
}
