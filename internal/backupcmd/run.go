package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/backup"
)

// runFlags are those of backup run.
type runFlags struct {
	repoFlags
	output
	label, pgdata          string
	full, spread, noVerify bool
	maxRate                rate
	workers                int
	waitWAL                time.Duration
	logical                dumpFlags
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Make a base backup",
		Long: `Make a base backup over the replication protocol, from anywhere that can connect to the server. On the server's own
machine --pgdata reads its files instead, several at once, and only those that changed.

Only pages that changed since the last backup are stored, and yet every backup restores alone. The backup is complete
when the WAL that it needs is in the repository too: brought by archive_command, or else taken from the server.

With --logical databases are dumped by pg_dump instead, as they are at one moment, for a table or a database to be taken
from: to a point in time only the other kind restores. The newest pg_dump of the server's version, or else of the next one, is
used; it needs no REPLICATION, only the right to read.`,
		Example: `  covetctl backup run
  covetctl backup run --repo s3://backups/prod --service orders --label "before the migration"
  covetctl backup run --pgdata /var/lib/postgresql/15/main
  covetctl backup run --compression zstd:3 --max-rate 20M
  covetctl backup run --logical --database shop
  covetctl backup run --logical --all-databases
  covetctl backup run --logical --database shop --table 'orders*' --label "before the fix"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	f.repoFlags.addPatient(cmd)
	f.addCompression(cmd)
	f.addDatabase(cmd)
	f.output.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.pgdata, "pgdata", "", "read the files in this data directory, of a server on this machine, instead of having them sent")
	fs.StringVar(&f.label, "label", "", "a note to find the backup by")
	fs.BoolVar(&f.full, "full", false, "store everything anew, without referring to earlier backups")
	fs.BoolVar(&f.spread, "spread", false, "wait for a checkpoint spread over time, to burden the server less")
	fs.BoolVar(&f.noVerify, "no-verify-checksums", false, "don't let the server verify page checksums as it reads")
	fs.Var(&f.maxRate, "max-rate", "read at most so much a second, such as 20M; a bare number is kB, 0 no limit")
	fs.IntVar(&f.workers, "workers", 0, "how many compress at once; 0: one a CPU")
	f.logical.add(cmd)
	fs.DurationVar(&f.waitWAL, "wait-wal", 10*time.Second, "how long to wait for archive_command to bring the backup's WAL, before taking it from the server")
	return cmd
}

// backupHeap is what a backup may hold before garbage is collected at every turn: a database's server needs its memory itself.
const backupHeap = 192 << 20

func (f *runFlags) run(cmd *cobra.Command) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if err := f.logical.checkKind(cmd.Flags().Changed); err != nil {
		return err
	}
	if f.maxRate != 0 && (f.maxRate < 32 || f.maxRate > 1<<20) {
		return usage(fmt.Errorf("--max-rate %d: the server takes 32 to 1048576 kB/s", f.maxRate))
	}
	dsn, err := f.database()
	if err != nil {
		return err
	}
	codec, err := f.codec()
	if err != nil {
		return err
	}
	if strings.ContainsFunc(f.label, unicode.IsControl) {
		return usage(fmt.Errorf("--label %q: write it in one line", f.label))
	}
	debug.SetGCPercent(10) // nearly all of it is buffers that are used again and again: collecting costs nothing
	debug.SetMemoryLimit(backupHeap)
	ctx := cmd.Context()
	repo, err := f.open(ctx)
	if err != nil {
		return err
	}
	notice := func(e *pgconn.PgError) { tell(cmd.ErrOrStderr(), e) }
	var head backup.Head
	if f.logical.on {
		head, err = f.dump(ctx, repo, dsn, codec, cmd.ErrOrStderr())
	} else {
		head, err = f.backup(ctx, repo, dsn, codec, notice, cmd.ErrOrStderr())
	}
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), head, func(w io.Writer) error { return printHead(w, head) })
}

func (f *runFlags) backup(ctx context.Context, repo backup.Repository, dsn string, codec backup.Codec, notice func(*pgconn.PgError), progress io.Writer) (h backup.Head, err error) {
	wal, err := pgwire.OpenWAL(ctx, dsn, notice)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, wal.Close()) }()
	wait := f.waitWAL
	if !wal.Server().Archiving {
		wait = 0 // nobody will bring it
	}
	src := f.source(dsn, notice)
	defer func() { err = errors.Join(err, src.Close()) }()
	return backup.Run(ctx, backup.Job{
		Repository: repo, Service: f.service, Origin: originOf(wal.Server()), Source: src, WAL: wal, Codec: codec, Label: f.label, Full: f.full,
		Workers: f.workers, WaitWAL: wait, Report: f.progress(progress), Required: pgwire.Essential(),
		Warn: func(err error) { _, _ = fmt.Fprintln(progress, "warning:", err) }, // a warning that can't be told is lost
	})
}

// source is where the files come from.
func (f *runFlags) source(dsn string, notice func(*pgconn.PgError)) interface {
	backup.Source
	io.Closer
} {
	if f.pgdata != "" {
		return pgwire.NewLocal(dsn, f.pgdata, pgwire.LocalOptions{Label: f.label, Spread: f.spread, MaxRate: int(f.maxRate), NoVerify: f.noVerify, Notice: notice})
	}
	return pgwire.NewBaseBackup(dsn, pgwire.BaseBackupOptions{Label: f.label, Spread: f.spread, MaxRate: int(f.maxRate), NoVerify: f.noVerify, Notice: notice})
}

func originOf(s pgwire.Server) backup.Origin {
	return backup.Origin{System: s.System, PGVersion: s.Version, Time: s.Time}
}

// tell prints what the server remarks, but not its chatter.
func tell(w io.Writer, e *pgconn.PgError) {
	if e.SeverityUnlocalized == "WARNING" || e.SeverityUnlocalized == "ERROR" {
		_, _ = fmt.Fprintf(w, "%s by the server: %s\n", e.Severity, e.Message) // a remark that can't be told is lost
	}
}

func printHead(w io.Writer, h backup.Head) error {
	if h.Logical != nil {
		return printDump(w, h)
	}
	return fields(w, "backup", h.ID, "label", h.Label, "service", h.Service, "system", h.System.String(),
		"PostgreSQL", versionText(h.PGVersion), "started", when(h.Started), "ended", when(h.Stopped),
		"WAL", fmt.Sprintf("%s to %s, timeline %d", h.StartLSN, h.StopLSN, h.Timeline), "files", fmt.Sprint(h.Files),
		"size", size(h.Bytes), "stored", fmt.Sprintf("%s (%s), %s unchanged since earlier backups", size(h.StoredBytes), h.Codec, size(h.ReusedBytes)),
		"previous", h.Previous,
		"read", readText(h), "encrypted for", strings.Join(h.EncryptedFor, ", "))
}

// readText says how much came from the server, and why it was everything.
func readText(h backup.Head) string {
	text := size(h.ReadBytes)
	if h.FullRead != "" {
		text += " (" + h.FullRead + ")"
	}
	return text
}
