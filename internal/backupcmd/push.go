package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/walagent/ask"
	"github.com/covetpy/covet/internal/walquick"
	"github.com/covetpy/covet/ops/backup"
)

// Defaults of archiving.
const (
	defaultAhead  = 16              // files
	archiveWorks  = 3               // at the same time
	aheadPatience = 5 * time.Second // for what PostgreSQL hasn't asked for yet
)

// archiveFlags are those of the commands that archive.
type archiveFlags struct {
	repoFlags
	spoolFlags
	agentFlags
	ahead int
}

func (f *archiveFlags) add(cmd *cobra.Command) {
	f.repoFlags.add(cmd)
	f.addCompression(cmd)
	f.spoolFlags.add(cmd)
	f.agentFlags.add(cmd)
	cmd.Flags().IntVar(&f.ahead, "ahead", defaultAhead, "how many files that PostgreSQL will ask for next to archive at the same time; 0: none")
}

// settings are what an agent must have in common with whoever asks it.
func (f *archiveFlags) settings() string {
	return strings.Join(append(f.args(), f.compression, f.dir), "\n")
}

func pushCommand() *cobra.Command {
	var f archiveFlags
	cmd := &cobra.Command{
		Use:   "push PATH",
		Short: "Archive one WAL file: the archive_command",
		Long: `Archive one WAL file. When it succeeds, the file is durable in the repository, or in the spool where there is one. In
postgresql.conf:

archive_command = 'covetctl wal push %p'

A file that is there already with the same content is accepted; one with another content is refused, and nothing is
overwritten. So is a segment of another database cluster, and one that is damaged.

Files that PostgreSQL will ask for next are archived at the same time. Where covetctl wal agent runs, it does the work.

With --spool, the file is acknowledged once it is safe on this machine's disk, and brought to the repository in the
background: PostgreSQL needn't keep its log while the repository is away. Until then it is lost if the disk is. When
the spool is full, PostgreSQL has to wait for the repository again.`,
		Example: `  covetctl wal push %p
  covetctl wal push %p --repo s3://backups/prod --service orders
  covetctl wal push %p --spool /var/spool/covet --spool-max 8G`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return failed(f.push(cmd, args[0])) },
	}
	f.add(cmd)
	f.addSystem(cmd)
	return cmd
}

func (f *archiveFlags) push(cmd *cobra.Command, path string) error {
	brief()
	ctx := cmd.Context()
	name := filepath.Base(path)
	if _, err := f.codec(); err != nil {
		return err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	id, err := f.walSystem(path)
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	if done, err := f.askAgent(cmd, path, id); done {
		return err
	}
	repo, err := f.open(ctx)
	if err != nil {
		return err
	}
	if err := f.pushMyself(ctx, repo.Cluster(f.service, id), path); err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	return nil
}

// askAgent lets the agent archive the file; done is false where there is none that does.
func (f *archiveFlags) askAgent(cmd *cobra.Command, path string, id backup.SystemID) (done bool, err error) {
	if f.socket == "" {
		return false, nil
	}
	ctx := cmd.Context()
	r, err := ask.Push(ctx, f.socket, ask.Request{Path: path, System: id.String(), Settings: f.settings(), Invocation: walquick.Invocation()})
	switch {
	case err != nil: // whatever the reason, the work can be done without it
		return false, ctx.Err()
	case r.Declined:
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "the agent at %s did not do it: %s\n", f.socket, r.Error)
		return false, err
	case r.Error != "":
		return true, &exitError{errors.New(r.Error), r.Code}
	}
	return true, nil
}

// pushMyself archives the file, and those that PostgreSQL will ask for next, in this process.
func (f *archiveFlags) pushMyself(ctx context.Context, c backup.Cluster, path string) error {
	a, err := f.archiver(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err = a.Archive(ctx, path)
	patience := aheadPatience
	if err != nil {
		patience = 0
	}
	finishErr := a.Finish(patience, cancel)
	if err == nil && a.Spool != nil {
		// What was acknowledged is safe: that nobody brings it on isn't this file's failure, and wal status tells.
		_ = f.spawnDrain(c)
	}
	return errors.Join(err, finishErr)
}

// archiver makes the one for a cluster.
func (f *archiveFlags) archiver(c backup.Cluster) (*backup.Archiver, error) {
	codec, err := f.codec()
	if err != nil {
		return nil, err
	}
	return &backup.Archiver{Cluster: c, Codec: codec, Spool: f.spool(), For: cmp.Or(walquick.Invocation(), f.settings()+"\n"+c.System.String()), Ahead: f.ahead, Workers: archiveWorks}, nil
}
