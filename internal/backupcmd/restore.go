package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgctl"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// restoreFlags are those of restore.
type restoreFlags struct {
	repoFlags
	output
	targetFlags
	to, backup, action, owner, pgBin, pgOptions, archive string
	spaces                                               map[string]string
	workers                                              int
	plan, delta, start                                   bool
	withService                                          serviceFlags
	host                                                 Host
}

func restoreCommand(h Host) *cobra.Command {
	f := &restoreFlags{host: h}
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Restore PostgreSQL to a point in time",
		Long: `Restore PostgreSQL into a directory, as it was at a point in time.

The plan is made first: which backup, which WAL, what is reached and what is lost. A target that can't be reached is
refused before anything is touched, and the nearest one that can is named. Without a target, everything that is archived
is restored.`,
		Example: `  covetctl restore --to /var/lib/postgresql/15/main --plan
  covetctl restore --to /var/lib/postgresql/15/main --target-time "2026-03-01 13:57:48Z" --start
  covetctl restore --to /srv/scratch --target-name before-migration --archive off
  covetctl restore --to /var/lib/postgresql/15/main --target-lsn 16/B374D848 --delta
  covetctl restore --to /var/lib/postgresql/15/main --target-time "2026-03-01 13:57:48Z" --with-service --release v1.0.0 --plan`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	f.define(cmd)
	cmd.AddCommand(drillCommand(), restoreStatusCommand(h), restoreResumeCommand(h), restoreAbandonCommand(h))
	return cmd
}

// define defines the flags, and with them their defaults.
func (f *restoreFlags) define(cmd *cobra.Command) {
	f.repoFlags.add(cmd)
	f.addSystem(cmd)
	f.output.add(cmd)
	f.targetFlags.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.to, "to", "", "data directory to restore into (required)")
	fs.StringVar(&f.backup, "backup", "", "ID of the backup to start from; default the best for the target")
	fs.BoolVar(&f.plan, "plan", false, "show what would be done, and do nothing")
	fs.BoolVar(&f.delta, "delta", false, "restore into a directory that isn't empty: fetch what differs, remove what isn't the backup's")
	fs.BoolVar(&f.start, "start", false, "start PostgreSQL and wait until it has reached the target")
	fs.StringVar(&f.action, "action", "promote", "at the target: promote, pause or shutdown")
	fs.StringVar(&f.archive, "archive", "preserve", "archiving of the restored server: preserve, or off for a scratch copy")
	fs.StringToStringVar(&f.spaces, "tablespace", nil, "other place for a tablespace: OID=DIR (repeatable)")
	fs.IntVar(&f.workers, "workers", 4, "how many download at once")
	fs.StringVar(&f.owner, "owner", "postgres", "user who gets the files, where this runs as root")
	fs.StringVar(&f.pgBin, "pg-bin", "", "folder of PostgreSQL's binaries; default found by the version")
	fs.StringVar(&f.pgOptions, "pg-options", "", "options for the server's command line with --start")
	completeFlagBackups(cmd, "backup", &f.repoFlags)
	completeWords(cmd, "action", "promote", "pause", "shutdown")
	completeWords(cmd, "archive", "preserve", "off")
	f.withService.add(cmd)
}

// result is what restore prints.
type result struct {
	Plan    *restore.Plan  `json:"plan"`
	Place   string         `json:"place"`
	Stats   *restore.Stats `json:"stats,omitempty"`
	Took    string         `json:"took,omitempty"`
	Reached *reached       `json:"reached,omitempty"`
}

type reached struct {
	Timeline backup.Timeline `json:"timeline"`
	LSN      backup.LSN      `json:"lsn"`
	Reason   string          `json:"reason"`
}

func (f *restoreFlags) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	target, err := f.validate()
	if err != nil {
		return err
	}
	if f.withService.on {
		return f.runWithService(cmd, target)
	}
	ctx, stop := goOn(ctx)
	defer stop()
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	plan, err := makePlan(ctx, c, target, f.backup)
	if err != nil {
		return err
	}
	place, err := restore.Inspect(f.to)
	if err != nil {
		return err
	}
	out := &result{Plan: plan, Place: describe(f.to, place)}
	if f.plan {
		return f.print(cmd.OutOrStdout(), out, out.table)
	}
	if err := restore.Allow(f.to, place, plan.Backup.ID, f.delta); err != nil {
		return err
	}
	m, err := c.Manifest(ctx, plan.Backup.ID)
	if err != nil {
		return err
	}
	job, err := f.job(cmd, c, m, place)
	if err != nil {
		return err
	}
	if err := f.execute(ctx, cmd, job, target, out); err != nil {
		return halfDone(err)
	}
	return f.print(cmd.OutOrStdout(), out, out.table)
}

func (f *restoreFlags) validate() (restore.Target, error) {
	if err := f.check(); err != nil {
		return restore.Target{}, err
	}
	if f.to == "" {
		return restore.Target{}, usage(errors.New("say where to restore to with --to DIR"))
	}
	abs, err := filepath.Abs(f.to)
	if err != nil {
		return restore.Target{}, usage(err)
	}
	f.to = abs
	switch restore.Action(f.action) {
	case restore.Promote:
	case restore.Pause, restore.Shutdown:
		if f.start {
			return restore.Target{}, usage(fmt.Errorf("--start waits for the promotion: leave --action %s out, or start PostgreSQL yourself", f.action))
		}
	default:
		return restore.Target{}, usage(fmt.Errorf("--action %q: use promote, pause or shutdown", f.action))
	}
	if f.archive != "preserve" && f.archive != "off" {
		return restore.Target{}, usage(fmt.Errorf("--archive %q: use preserve or off", f.archive))
	}
	return f.target()
}

// makePlan lists what is there and plans with it.
func makePlan(ctx context.Context, c backup.Cluster, t restore.Target, id string) (*restore.Plan, error) {
	heads, err := c.Backups(ctx)
	if err != nil && !errors.Is(err, backup.ErrDamaged) {
		return nil, err
	}
	if len(heads) == 0 {
		return nil, errors.Join(&restore.UnreachableError{Target: t, Reason: "there is no backup in " + c.Where}, err)
	}
	size := heads[0].SegmentSize
	archived, err := c.Archived(ctx, size)
	if err != nil {
		return nil, err
	}
	return restore.Make(ctx, restore.Input{
		Heads: heads, Archived: archived, Target: t, Backup: id,
		Facts: func(ctx context.Context, s backup.Segment, next *backup.Segment) (backup.Facts, error) {
			return c.Facts(ctx, s, next, size)
		},
	})
}

// job prepares the copy, and refuses where tablespaces would overwrite something.
func (f *restoreFlags) job(cmd *cobra.Command, c backup.Cluster, m *backup.Manifest, place restore.Place) (restore.Copy, error) {
	job := restore.Copy{
		Cluster: c, Manifest: m, Dir: f.to, Workers: f.workers,
		Existing: place.State != restore.Free, Report: f.progress(cmd.ErrOrStderr()),
	}
	var err error
	if job.Locations, err = f.locations(); err != nil {
		return job, err
	}
	if os.Geteuid() == 0 {
		o, err := lookup(f.owner)
		if err != nil {
			return job, err
		}
		job.Owner = o
	}
	if err := restore.AllowSpaces(m, job.Locations, place, f.delta); err != nil {
		return job, err
	}
	job.Existing = job.Existing || f.delta
	return job, nil
}

// locations reads --tablespace.
func (f *restoreFlags) locations() (map[uint32]string, error) {
	out := map[uint32]string{}
	for oid, dir := range f.spaces {
		n, err := strconv.ParseUint(oid, 10, 32)
		if err != nil || !filepath.IsAbs(dir) {
			return nil, usage(fmt.Errorf("--tablespace %s=%s: write OID=/ABSOLUTE/DIR", oid, dir))
		}
		out[uint32(n)] = dir
	}
	return out, nil
}

func lookup(name string) (*restore.Owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, usage(fmt.Errorf("--owner: %w", err))
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return &restore.Owner{UID: uid, GID: gid}, errors.Join(err1, err2)
}

// execute copies, configures and, where asked, starts.
func (f *restoreFlags) execute(ctx context.Context, cmd *cobra.Command, job restore.Copy, t restore.Target, out *result) error {
	began := time.Now()
	stats, err := job.Run(ctx)
	if err != nil {
		return fmt.Errorf("%w (run the same command again to continue)", err)
	}
	command, err := f.restoreCommand(job.Cluster.System)
	if err != nil {
		return err
	}
	settings := restore.Settings(t, restore.Recovery{
		Timeline: out.Plan.Timeline, RestoreCommand: command, Action: restore.Action(f.action), ArchiveOff: f.archive == "off",
	})
	if err := restore.Configure(f.to, settings, job.Owner); err != nil {
		return err
	}
	out.Stats = &stats
	if f.start {
		if out.Reached, err = f.startServer(ctx, cmd.ErrOrStderr(), job.Owner, out.Plan); err != nil {
			return err
		}
	}
	out.Took = time.Since(began).Round(time.Millisecond).String()
	return nil
}

// restoreCommand is the shell command by which PostgreSQL fetches its log with this very program.
func (f *repoFlags) restoreCommand(id backup.SystemID) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	words := []string{shell(self), "wal", "fetch", "%f", `"%p"`}
	for _, a := range append(f.args(), "--system", id.String()) {
		words = append(words, shell(a))
	}
	return strings.Join(words, " "), nil
}

// shell quotes a word for sh, and for PostgreSQL's own percent signs.
func shell(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (f *restoreFlags) startServer(ctx context.Context, progress io.Writer, o *restore.Owner, p *restore.Plan) (*reached, error) {
	s := pgctl.Server{Bin: f.pgBin, Dir: f.to, Options: f.pgOptions, Log: filepath.Join(f.to, "covet-recovery.log")}
	if o != nil {
		s.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	}
	if s.Bin == "" {
		bin, err := pgctl.FindBin(f.to)
		if err != nil {
			return nil, err
		}
		s.Bin = bin
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	tell := f.progress(progress)
	began := time.Now()
	got, err := s.Wait(ctx, func(st pgctl.State) {
		from, to := p.Backup.StartLSN, p.End()
		tell(backup.Progress{Phase: "replay", Done: int64(max(st.Replayed, from) - from), Total: int64(to - from), Elapsed: time.Since(began)})
	})
	if err != nil {
		return nil, err
	}
	return &reached{got.Timeline, got.LSN, got.Reason}, nil
}

func describe(dir string, p restore.Place) string {
	switch p.State {
	case restore.Unfinished:
		return dir + ": an interrupted restore of backup " + p.Backup + ", which is continued"
	case restore.Occupied:
		return dir + ": NOT EMPTY: needs --delta, which removes what isn't the backup's"
	case restore.Running:
		return fmt.Sprintf("%s: A SERVER IS RUNNING in it (process %d): it must be stopped first", dir, p.PID)
	}
	return dir + ": free"
}

// table prints the plan, and what became of it.
func (r *result) table(w io.Writer) error {
	p := r.Plan
	pairs := []string{
		"target", p.Target, "backup", fmt.Sprintf("%s, ended %s, %s", p.Backup.ID, when(p.Backup.Stopped), size(p.Backup.Bytes)),
		"timeline", fmt.Sprint(p.Timeline), "WAL", fmt.Sprintf("%d segments, %s to %s, %s", len(p.Segments), p.First, p.Last, size(p.WALBytes)),
		"reaches", pointText(p.Reaches, "the end of the backup"), "newest", pointText(p.Newest, "the end of the backup"),
		"loses", p.Loss().Round(time.Millisecond).String(), "place", r.Place,
	}
	if r.Stats != nil {
		pairs = append(pairs, "copied", fmt.Sprintf("%s from %s fetched, %s kept", size(r.Stats.Written), size(r.Stats.Fetched), size(r.Stats.Kept)), "took", r.Took)
	}
	if r.Reached != nil {
		pairs = append(pairs, "recovered", fmt.Sprintf("to LSN %s (%s), now on timeline %d", r.Reached.LSN, r.Reached.Reason, r.Reached.Timeline))
	}
	return fields(w, pairs...)
}

func pointText(p *restore.Point, none string) string {
	if p == nil {
		return none
	}
	return fmt.Sprintf("transaction %d, committed %s, LSN %s", p.XID, exactly(p.Time), p.LSN)
}
