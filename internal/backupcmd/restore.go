package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/backup/walside"
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
	logical                                              undumpFlags
	intoGiven                                            bool               // --into is on the command line
	notes                                                []string           // on stopping the service
	replaced                                             *restore.Operation // interrupted, and given up by --delta
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
is restored.

With --logical a database, or a table of one, is restored from a logical backup into a running server: into a new database, or
into an existing one, where nothing that is there is touched without --replace. All of it happens or nothing, unless --jobs
says otherwise.`,
		Example: `  covetctl restore --to /var/lib/postgresql/15/main --plan
  covetctl restore --to /var/lib/postgresql/15/main --target-time "2026-03-01 13:57:48Z" --start
  covetctl restore --to /srv/scratch --target-name before-migration --archive off
  covetctl restore --to /var/lib/postgresql/15/main --target-lsn 16/B374D848 --delta
  covetctl restore --to /var/lib/postgresql/15/main --target-time "2026-03-01 13:57:48Z" --with-service --release v1.0.0 --plan
  covetctl restore --logical --database shop --list
  covetctl restore --logical --database shop --to-database shop_yesterday
  covetctl restore --logical --database shop --table orders --into postgres://db/shop --replace --plan`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.logical.checkKind(cmd.Flags().Changed); err != nil {
				return err
			}
			if f.logical.on {
				f.intoGiven = cmd.Flags().Changed("into")
				return failed(f.runLogical(cmd))
			}
			return failed(f.run(cmd))
		},
	}
	f.define(cmd)
	cmd.AddCommand(drillCommand(), restoreStatusCommand(h), restoreResumeCommand(h), restoreAbandonCommand(h))
	return cmd
}

// define defines the flags, and with them their defaults.
func (f *restoreFlags) define(cmd *cobra.Command) {
	f.repoFlags.addPatient(cmd)
	f.addSystem(cmd)
	f.output.add(cmd)
	f.targetFlags.add(cmd)
	f.logical.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.to, "to", "", "data directory to restore into; with --with-service default PGDATA, or the running server's own")
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
	completeFlagBackups(cmd, "backup", &f.repoFlags, &f.logical.on)
	completeWords(cmd, "action", "promote", "pause", "shutdown")
	completeWords(cmd, "archive", "preserve", "off")
	f.withService.add(cmd)
}

// result is what restore prints.
type result struct {
	ID    string        `json:"restore,omitempty"`
	Plan  *restore.Plan `json:"plan"`
	Loses loss          `json:"loses"`
	Place string        `json:"place"`
	// Tablespaces says where each goes, by OID.
	Tablespaces map[uint32]string `json:"tablespaces,omitempty"`
	InTheWay    []obstacle        `json:"in_the_way"`
	Stats       *restore.Stats    `json:"stats,omitempty"`
	Took        string            `json:"took,omitempty"`
	LogKept     time.Time         `json:"log_kept_until,omitzero"`
	Reached     *reached          `json:"reached,omitempty"`
}

// loss is what a restore takes away, and against what that is counted.
type loss struct {
	Time  string `json:"time"`
	Basis string `json:"basis"`
}

func lossOf(p *restore.Plan) loss {
	return loss{p.Loss().Round(time.Millisecond).String(), p.LossBasis()}
}

type reached struct {
	Timeline backup.Timeline `json:"timeline"`
	LSN      backup.LSN      `json:"lsn"`
	Reason   string          `json:"reason"`
}

func (f *restoreFlags) run(cmd *cobra.Command) error {
	target, err := f.validate(cmd.Context())
	switch {
	case err != nil:
		return err
	case f.withService.worker != "":
		return f.work(cmd.Context(), f.host.operations(f.withService.stateDir), target)
	case f.withService.on:
		return f.runWithService(cmd, target)
	}
	ctx, stop := goOn(cmd.Context())
	defer stop()
	last, err := f.interrupted(&target)
	if err != nil {
		return err
	}
	c, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	plan, err := makePlan(ctx, c, target, f.backup)
	if err != nil {
		return err
	}
	plan.Live = f.askLive(ctx, c.System)
	return f.runPlain(ctx, cmd, c, target, plan, last)
}

// runPlain does what was planned, where nothing is in the way. last is the record of the same restore that was interrupted.
func (f *restoreFlags) runPlain(ctx context.Context, cmd *cobra.Command, c backup.Cluster, target restore.Target, plan *restore.Plan, last *restore.Operation) error {
	place, err := restore.Inspect(f.to)
	if err != nil {
		return err
	}
	m, err := c.Manifest(ctx, plan.Backup.ID)
	if err != nil {
		return err
	}
	f.doubt(plan, place, c.System)
	out := &result{Plan: plan, Loses: lossOf(plan), Place: f.describe(place)}
	if out.InTheWay, err = f.inTheWay(ctx, c, m, place); err != nil {
		return err
	}
	if out.Tablespaces, err = f.tablespaces(m); err != nil {
		return err
	}
	if last != nil {
		out.ID, out.Place = last.ID, fmt.Sprintf("%s: an interrupted restore, which is continued: %s", f.to, last.Describe())
	}
	if f.plan {
		return f.print(cmd.OutOrStdout(), out, out.table)
	}
	if err := f.mayWrite(last, place, m); err != nil {
		return err
	}
	if err := blocked(out.InTheWay); err != nil {
		return err
	}
	began := time.Now()
	if err := f.replace(); err != nil {
		return err
	}
	j := &job{f: f, ops: f.host.operations(f.withService.stateDir), o: last, target: target, tell: f.progress(cmd.ErrOrStderr())}
	if j.o == nil {
		j.o = f.newOperation(out, m)
	}
	if err := j.hold(ctx); err != nil {
		return halfDone(fmt.Errorf("%w (covetctl restore resume %s, or the same command again, continues)", err, j.o.ID))
	}
	out.LogKept = j.logKept
	out.ID, out.Stats, out.Reached, out.Took = j.o.ID, j.stats, j.reached, time.Since(began).Round(time.Millisecond).String()
	return f.print(cmd.OutOrStdout(), out, out.table)
}

// mayWrite refuses a directory that holds something which the command doesn't say to overwrite. What an interrupted restore has
// made is its own. The tablespaces' places are among what is in the way.
func (f *restoreFlags) mayWrite(last *restore.Operation, place restore.Place, m *backup.Manifest) error {
	if last != nil && last.Step(stepCopy).State == restore.Done {
		return nil
	}
	return restore.Allow(f.to, place, m.ID, f.delta)
}

// interrupted finds the record of the same restore that was interrupted, and takes over what it had decided. Another one of the
// same directory must be ended first; --delta ends it.
func (f *restoreFlags) interrupted(target *restore.Target) (*restore.Operation, error) {
	last, err := restore.Beside(f.to)
	if err != nil || last == nil || last.Finished() || last.Dir != f.to {
		return nil, err
	}
	if last.Running() {
		return nil, &exitError{fmt.Errorf("restore %s of %s is at work (process %d): covetctl restore status --watch --to %s follows it", last.ID, f.to, last.PID, f.to), exitLocked}
	}
	if last.Service == "" && last.Target == target.String() && (f.backup == "" || f.backup == last.Backup) && last.Step(stepRecover).Do == f.recoverStep(*target) {
		f.backup = last.Backup
		if target.Timeline == 0 {
			target.Timeline = last.Timeline
		}
		return last, nil
	}
	switch {
	case f.plan:
		return nil, nil
	case last.Service == "" && f.delta:
		f.replaced = last
		return nil, nil
	}
	return nil, open(last)
}

// replace closes the record of an interrupted restore whose place this one takes.
func (f *restoreFlags) replace() error {
	if f.replaced == nil {
		return nil
	}
	return f.host.operations(f.withService.stateDir).Save(dropped(f.replaced))
}

// recoverStep is what the step is called by which this restore starts PostgreSQL; empty where it doesn't.
func (f *restoreFlags) recoverStep(t restore.Target) string {
	for _, s := range f.jobSteps("", t.String()) {
		if s.Name == stepRecover {
			return s.Do
		}
	}
	return ""
}

func (f *restoreFlags) validate(ctx context.Context) (restore.Target, error) {
	if err := f.check(); err != nil {
		return restore.Target{}, err
	}
	if f.to == "" && !f.withService.on {
		return restore.Target{}, usage(errors.New("say where to restore to with --to DIR"))
	}
	if f.to == "" {
		dir, err := f.host.directory(ctx, "")
		if err != nil {
			return restore.Target{}, usage(fmt.Errorf("say which data directory to restore with --to DIR: %w", err))
		}
		f.to = dir
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
	heads, unread := c.Backups(ctx)
	if unread != nil && !errors.Is(unread, backup.ErrDamaged) {
		return nil, unread
	}
	if len(heads) == 0 {
		return nil, errors.Join(&restore.UnreachableError{Target: t, Reason: "there is no backup in " + c.Where}, unread)
	}
	size := heads[0].SegmentSize
	archived, err := c.Archived(ctx, size)
	if err != nil {
		return nil, err
	}
	verified, err := c.Verified(ctx)
	if err != nil && !errors.Is(err, backup.ErrDamaged) {
		return nil, err
	}
	plan, err := restore.Make(ctx, restore.Input{
		Heads: heads, Archived: archived, Target: t, Backup: id, Doubts: doubtsOf(verified),
		Facts: func(ctx context.Context, s backup.Segment, next *backup.Segment) (backup.Facts, error) {
			return c.Facts(ctx, s, next, size)
		},
	})
	if err == nil && unread != nil {
		plan.Doubts = append(plan.Doubts, strings.Split(unread.Error(), "\n")...)
	}
	return plan, err
}

// doubtsOf says against which backups the last verification speaks.
func doubtsOf(verified map[string]backup.Verified) map[string]string {
	out := map[string]string{}
	for id, v := range verified {
		if len(v.Damage) > 0 && id != backup.LogID {
			out[id] = fmt.Sprintf("backup %s was found damaged %s: %s", id, when(v.At), v.Damage[0])
		}
	}
	return out
}

// locations are the places of a backup's tablespaces.
func (f *restoreFlags) locations(m *backup.Manifest) (*restore.Spaces, error) {
	named := map[uint32]string{}
	for oid, dir := range f.spaces {
		n, err := strconv.ParseUint(oid, 10, 32)
		if err != nil || !filepath.IsAbs(dir) {
			return nil, usage(fmt.Errorf("--tablespace %s=%s: write OID=/ABSOLUTE/DIR", oid, dir))
		}
		named[uint32(n)] = dir
	}
	return restore.FindSpaces(f.to, m, named)
}

// tablespaces says where each goes, by OID.
func (f *restoreFlags) tablespaces(m *backup.Manifest) (map[uint32]string, error) {
	at, err := f.locations(m)
	if err != nil {
		return nil, err
	}
	return at.At, nil
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

// doubt adds to a plan that the directory is another database's, which somebody may have named by mistake.
func (f *restoreFlags) doubt(p *restore.Plan, place restore.Place, own backup.SystemID) {
	system, err := walside.System(f.to)
	if err == nil && system != own.String() && (place.State == restore.Occupied || place.State == restore.Running) {
		p.Doubts = append(p.Doubts, fmt.Sprintf("%s is the directory of another database, system %s: its files are given up", f.to, system))
	}
}

// describeWithService is describe where the server is stopped, and what is there overwritten, by the restore itself.
func describeWithService(dir string, p restore.Place) string {
	switch p.State {
	case restore.Running:
		return fmt.Sprintf("%s: the server in it (process %d) is stopped, and its files are overwritten", dir, p.PID)
	case restore.Occupied:
		return dir + ": its files are overwritten"
	}
	return describe(dir, p)
}

// describe says what the restore does to what is in the directory.
func (f *restoreFlags) describe(p restore.Place) string {
	if p.State == restore.Occupied && f.delta {
		return f.to + ": only what differs is written, and what isn't the backup's is REMOVED"
	}
	return describe(f.to, p)
}

func describe(dir string, p restore.Place) string {
	switch p.State {
	case restore.Unfinished:
		return dir + ": an interrupted restore of backup " + p.Backup + ", which is continued"
	case restore.Occupied:
		return dir + ": NOT EMPTY: needs --delta, which removes what isn't the backup's"
	case restore.Foreign:
		return dir + ": NOT EMPTY, and no data directory: it must be emptied first"
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
		"loses", r.Loses.Time + ", " + r.Loses.Basis, "restore", r.ID, "place", r.Place,
	}
	for _, oid := range slices.Sorted(maps.Keys(r.Tablespaces)) {
		pairs = append(pairs, "tablespace", fmt.Sprintf("%d: %s", oid, r.Tablespaces[oid]))
	}
	for _, d := range p.Doubts {
		pairs = append(pairs, "MIND", d)
	}
	for _, o := range r.InTheWay {
		pairs = append(pairs, "IN THE WAY", o.String())
	}
	if r.Stats != nil {
		pairs = append(pairs, "copied", fmt.Sprintf("%s from %s fetched, %s kept", size(r.Stats.Written), size(r.Stats.Fetched), size(r.Stats.Kept)), "took", r.Took)
	}
	if !r.LogKept.IsZero() {
		pairs = append(pairs, "start it", "by "+when(r.LogKept)+": until then the log that it replays does not expire")
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
