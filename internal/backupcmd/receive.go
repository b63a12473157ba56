package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/backup"
)

// receiveFlags are those of wal receive.
type receiveFlags struct {
	repoFlags
	slot        string
	every       time.Duration
	synchronous bool
}

func receiveCommand() *cobra.Command {
	var f receiveFlags
	cmd := &cobra.Command{
		Use:   "receive",
		Short: "Stream the log into the repository, so that seconds are lost at the most",
		Long: `Stream the log of a server into the repository through a replication slot. What has come of the present segment is stored
every few seconds, so that no more is lost when the server is: without it, what isn't archived yet is, up to a segment.

Runs until it is stopped. When the connection ends, or the repository fails, it tries again and goes on where it was: while
it is away the slot makes the server keep its log (max_slot_wal_keep_size bounds how much). It goes on through a
promotion: name all servers in the database's address, with target_session_attrs=read-write. It goes together with
archive_command, or without.

The server is told what is durable in the repository. With --synchronous, whatever comes is stored at once, and commits
can wait for it: synchronous_standby_names = 'covet'.`,
		Example: `  covetctl wal receive
  covetctl wal receive --slot covet_orders --every 2s
  covetctl wal receive --database-url "postgres://backup@db1,db2/postgres?target_session_attrs=read-write"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	f.add(cmd)
	f.addCompression(cmd)
	f.addDatabase(cmd)
	cmd.Flags().StringVar(&f.slot, "slot", "covet", "replication slot, made where it isn't there")
	cmd.Flags().DurationVar(&f.every, "every", 5*time.Second, "how often the growing segment is stored")
	cmd.Flags().BoolVar(&f.synchronous, "synchronous", false, "store what comes at once, for commits that wait")
	return cmd
}

func (f *receiveFlags) run(cmd *cobra.Command) error {
	if f.every < 100*time.Millisecond {
		return usage(fmt.Errorf("--every %s: at least 100ms", f.every))
	}
	dsn, err := f.database()
	if err != nil {
		return err
	}
	codec, err := f.codec()
	if err != nil {
		return err
	}
	r := &receiving{f: f, dsn: dsn, codec: codec, err: cmd.ErrOrStderr()}
	ctx := cmd.Context()
	for pause := time.Second; ; {
		began := time.Now()
		err := r.once(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop, and did
		}
		if !r.begun || hopeless(err) {
			return err
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		_, _ = fmt.Fprintf(r.err, "wal receive: %v; trying again in %s\n", err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// hopeless says whether trying again changes nothing.
func hopeless(err error) bool {
	var foreign *backup.ForeignWALError
	var conflict *backup.ConflictError
	return errors.As(err, &foreign) || errors.As(err, &conflict)
}

// receiving is one run of wal receive, over as many connections as it takes.
type receiving struct {
	f      *receiveFlags
	dsn    string
	codec  backup.Codec
	err    io.Writer
	begun  bool // a server was connected to, and the repository opened
	system backup.SystemID
}

// once receives for as long as one connection lasts.
func (r *receiving) once(ctx context.Context) error {
	repo, err := r.f.open(ctx) // anew, with the credentials that are there now
	if err != nil {
		return err
	}
	o := pgwire.ReceiveOptions{
		Slot: r.f.slot, Every: r.f.every, Synchronous: r.f.synchronous,
		Notice: func(e *pgconn.PgError) { tell(r.err, e) },
		Gap: func(first, behind backup.Segment) {
			_, _ = fmt.Fprintf(r.err, "wal receive: THE LOG HAS A GAP: of timeline %d, the segments from number %d up to %d are neither archived nor on the server: make a new backup\n", first.Timeline, first.No, behind.No)
		},
	}
	return pgwire.Receive(ctx, r.dsn, o, func(s pgwire.Server) (pgwire.Sink, error) {
		if r.begun && s.System != r.system {
			return nil, &backup.ForeignWALError{Name: "of the server", Want: r.system, Got: s.System}
		}
		r.begun, r.system = true, s.System
		return &walSink{repo.Cluster(r.f.service, s.System), r.codec, s.SegmentSize}, nil
	})
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

func (s *walSink) History(ctx context.Context, t backup.Timeline, data []byte) error {
	_, err := s.c.PushWAL(ctx, t.String()+".history", data, s.codec)
	return err
}

func (s *walSink) Resume(ctx context.Context, t backup.Timeline, h backup.History) (uint64, bool, error) {
	return s.c.Lacking(ctx, t, h, s.size)
}
