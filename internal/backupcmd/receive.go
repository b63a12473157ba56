package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/backup"
)

func receiveCommand() *cobra.Command {
	var f repoFlags
	var slot string
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "receive",
		Short: "Stream the log into the repository, so that seconds are lost at the most",
		Long: `Stream the log of a server into the repository through a replication slot. What has come of the present segment is stored
every few seconds, so that no more is lost when the server is: without it, what isn't archived yet is, up to a segment.

Runs until it is stopped, or the connection ends: let a service manager start it again. While it is away the slot makes
the server keep its log: max_slot_wal_keep_size bounds how much. It goes together with archive_command, or without.`,
		Example: `  covetctl wal receive
  covetctl wal receive --slot covet_orders --every 2s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.receive(cmd, slot, every)) },
	}
	f.add(cmd)
	f.addCompression(cmd)
	f.addDatabase(cmd)
	cmd.Flags().StringVar(&slot, "slot", "covet", "replication slot, made where it isn't there")
	cmd.Flags().DurationVar(&every, "every", 5*time.Second, "how often the growing segment is stored")
	return cmd
}

func (f *repoFlags) receive(cmd *cobra.Command, slot string, every time.Duration) error {
	if every < 100*time.Millisecond {
		return usage(fmt.Errorf("--every %s: at least 100ms", every))
	}
	dsn, err := f.database()
	if err != nil {
		return err
	}
	codec, err := f.codec()
	if err != nil {
		return err
	}
	repo, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	err = pgwire.Receive(cmd.Context(), dsn, slot, every, func(e *pgconn.PgError) { tell(cmd.ErrOrStderr(), e) }, func(s pgwire.Server) (pgwire.Sink, error) {
		return &walSink{repo.Cluster(f.service, s.System), codec, s.SegmentSize}, nil
	})
	if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
		return nil //nolint:nilerr // it was told to stop, and did
	}
	return err
}

// walSink stores the log in a repository.
type walSink struct {
	c     backup.Cluster
	codec backup.Codec
	size  int64
}

func (s *walSink) Live(ctx context.Context, seg backup.Segment, data []byte) error {
	return s.c.PushLive(ctx, seg, s.size, data, s.codec)
}

func (s *walSink) Whole(ctx context.Context, seg backup.Segment, data []byte) error {
	if _, err := s.c.PushWAL(ctx, seg.Name(s.size), data, s.codec); err != nil {
		return err
	}
	return s.c.DropLive(ctx, seg, s.size)
}
