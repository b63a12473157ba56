package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/pgctl"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/restore"
)

// pinned are the flags for another process that does the same.
func (f *restoreFlags) pinned() []string {
	out := append([]string{"--to", f.to, "--with-service"}, f.args()...)
	for _, o := range []struct{ flag, value string }{
		{"target-time", f.time}, {"target-lsn", f.lsn}, {"target-xid", f.xid}, {"target-name", f.name}, {"system", f.system}, {"owner", f.owner},
		{"pg-bin", f.pgBin}, {"pg-options", f.pgOptions}, {"archive", f.archive}, {"workers", strconv.Itoa(f.workers)},
		{"release", f.withService.release}, {"reason", f.withService.reason}, {"check-database", f.withService.checkDatabase},
		{"check-user", f.withService.checkUser}, {"state-dir", f.withService.stateDir},
	} {
		if o.value != "" {
			out = append(out, "--"+o.flag+"="+o.value)
		}
	}
	if f.time != "" { // a time without a zone is this process's
		if t, err := parseTime(f.time); err == nil {
			out = append(out, "--target-time="+t.UTC().Format("2006-01-02T15:04:05.999999Z"))
		}
	}
	if f.host.Flags != nil {
		out = append(out, f.host.Flags()...)
	}
	for oid, dir := range f.spaces {
		out = append(out, "--tablespace="+oid+"="+dir)
	}
	for _, q := range f.withService.checks {
		out = append(out, "--check="+q)
	}
	if f.immediate {
		out = append(out, "--immediate")
	}
	if f.exclusive {
		out = append(out, "--exclusive")
	}
	return out
}

// startWorker starts the process that does the work. It has a session of its own: no terminal's end reaches it.
func startWorker(o *restore.Operation, ops restore.Operations) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(ops.Dir, o.ID+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start the restore: %w", err)
	}
	cmd := exec.Command(self, append([]string{"restore"}, o.Args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("start the restore: %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that it is seen to be gone when it is; how it ended is in the record
	return nil
}

// job is a database rollback at work.
type job struct {
	f      *restoreFlags
	ops    restore.Operations
	o      *restore.Operation
	target restore.Target
	saved  time.Time
}

// work does what a record says is left to be done. Every step can be done again: what it finds done already it leaves.
func (f *restoreFlags) work(cmd *cobra.Command, ops restore.Operations, target restore.Target) error {
	ctx, stop := goOn(cmd.Context())
	defer stop()
	release, err := ops.Hold(f.withService.worker)
	if err != nil {
		return &exitError{err, exitLocked}
	}
	o, err := ops.Load(f.withService.worker)
	if err == nil && !o.Finished() {
		j := &job{f: f, ops: ops, o: o, target: target}
		err = j.run(ctx)
	}
	return halfDone(errors.Join(err, release()))
}

func (j *job) run(ctx context.Context) error {
	j.o.PID, j.o.Error = os.Getpid(), ""
	do := map[string]func(context.Context) (string, error){
		stepStop: j.stopService, stepDown: j.stopDatabase, stepCopy: j.copy, stepConfigure: j.configure,
		stepRecover: j.recover, stepCheck: j.check, stepRelease: j.release, stepStart: j.startService,
	}
	for s := j.o.Current(); s != nil; s = j.o.Current() {
		s.State, s.Began, s.Says = restore.Doing, time.Now().UTC(), ""
		if err := j.ops.Save(j.o); err != nil {
			return err
		}
		says, err := do[s.Name](ctx)
		s.Ended, s.Says, j.o.Progress = time.Now().UTC(), says, nil
		if err != nil {
			s.State, s.Says, j.o.Error, j.o.PID = restore.Failed, err.Error(), err.Error(), 0
			return errors.Join(fmt.Errorf("%s: %w", s.Do, err), j.ops.Save(j.o))
		}
		s.State = restore.Done
		if err := j.ops.Save(j.o); err != nil {
			return err
		}
	}
	j.o.Ended, j.o.PID = time.Now().UTC(), 0
	return j.ops.Save(j.o)
}

// report keeps how far the step is, once in a while.
func (j *job) report(p backup.Progress) {
	if time.Since(j.saved) < 500*time.Millisecond {
		return
	}
	j.saved = time.Now()
	j.o.Progress = &p
	_ = j.ops.Save(j.o) // progress that can't be told is no reason to stop the work
}

func (j *job) reason() string {
	r := "database restore " + j.o.ID + " to " + j.o.Target
	if j.o.Reason != "" {
		r += ": " + j.o.Reason
	}
	return r
}

func (j *job) stopService(ctx context.Context) (says string, err error) {
	err = j.f.host.withPort(ctx, func(p console.Port) error {
		var ack console.Ack
		in := console.Target{ID: j.o.ID, Common: console.Common{Reason: j.reason()}}
		if err := p.Do(ctx, console.StopService, in, &ack); err != nil {
			return err
		}
		return await(ctx, p, func(st console.Status) bool {
			says = "no instance is left"
			if st.Offline {
				says = "covetd is not running; its journal says that nothing may run"
			}
			return st.Offline || st.Stopped != nil && len(st.Releases) == 0
		})
	})
	return says, err
}

// await waits for the service to be as wanted.
func await(ctx context.Context, p console.Port, done func(console.Status) bool) error {
	for {
		var st console.Status
		if err := p.Ask(ctx, console.GetStatus, console.Query{}, &st); err != nil {
			return err
		}
		if done(st) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// server is PostgreSQL in the directory.
func (j *job) server() (pgctl.Server, error) {
	s := pgctl.Server{Bin: j.f.pgBin, Dir: j.f.to, Options: j.f.pgOptions, Log: filepath.Join(j.f.to, "covet-recovery.log")}
	o, err := j.f.ownerOf()
	if err != nil {
		return s, err
	}
	if o != nil {
		s.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	}
	if s.Bin == "" {
		s.Bin, err = pgctl.FindBin(j.f.to)
	}
	return s, err
}

func (f *restoreFlags) ownerOf() (*restore.Owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	return lookup(f.owner)
}

func (j *job) stopDatabase(ctx context.Context) (string, error) {
	place, err := restore.Inspect(j.f.to)
	if err != nil {
		return "", err
	}
	if place.State != restore.Running {
		return "no server ran there", nil
	}
	s, err := j.server()
	if err != nil {
		return "", err
	}
	if err := s.Stop(ctx, "fast"); err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d ended", place.PID), nil
}

// copy brings the files. It may have been interrupted anywhere: what is right already stays.
func (j *job) copy(ctx context.Context) (string, error) {
	c, err := j.f.cluster(ctx)
	if err != nil {
		return "", err
	}
	m, err := c.Manifest(ctx, j.o.Backup)
	if err != nil {
		return "", err
	}
	place, err := restore.Inspect(j.f.to)
	if err != nil {
		return "", err
	}
	if err := restore.Allow(j.f.to, place, m.ID, true); err != nil {
		return "", err
	}
	owner, err := j.f.ownerOf()
	if err != nil {
		return "", err
	}
	locations, err := j.f.locations()
	if err != nil {
		return "", err
	}
	stats, err := restore.Copy{Cluster: c, Manifest: m, Dir: j.f.to, Locations: locations, Workers: j.f.workers, Existing: true, Owner: owner, Report: j.report}.Run(ctx)
	return fmt.Sprintf("%s written, %s fetched, %s kept", size(stats.Written), size(stats.Fetched), size(stats.Kept)), err
}

func (j *job) configure(ctx context.Context) (string, error) {
	c, err := j.f.cluster(ctx)
	if err != nil {
		return "", err
	}
	command, err := j.f.restoreCommand(c.System)
	if err != nil {
		return "", err
	}
	owner, err := j.f.ownerOf()
	if err != nil {
		return "", err
	}
	settings := restore.Settings(j.target, restore.Recovery{Timeline: j.o.Timeline, RestoreCommand: command, Action: restore.Promote, ArchiveOff: j.f.archive == "off"})
	return "", restore.Configure(j.f.to, settings, owner)
}

// recover starts the server, where it doesn't run, and waits until it takes writes.
func (j *job) recover(ctx context.Context) (string, error) {
	s, err := j.server()
	if err != nil {
		return "", err
	}
	place, err := restore.Inspect(j.f.to)
	if err != nil {
		return "", err
	}
	if place.State != restore.Running {
		if err := s.Start(ctx); err != nil {
			return "", err
		}
	}
	began := time.Now()
	got, err := s.Wait(ctx, func(st pgctl.State) {
		j.report(backup.Progress{Phase: "replay", Done: int64(st.Replayed), Elapsed: time.Since(began)})
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("recovered to LSN %s (%s), now on timeline %d", got.LSN, got.Reason, got.Timeline), nil
}

// check asks the database. One that lets nobody in is no reason to keep the service down; one that says no is.
func (j *job) check(ctx context.Context) (string, error) {
	socket, port, err := socketOf(j.f.to)
	if err != nil {
		return "", err
	}
	o := pgctl.CheckOptions{Socket: socket, Port: port, User: j.f.withService.checkUser, Queries: j.f.withService.checks, Database: j.f.withService.checkDatabase}
	checks, err := pgctl.CheckServer(ctx, o)
	if err != nil && len(j.f.withService.checks) > 0 {
		return "", err
	}
	if err != nil {
		return "not checked: " + err.Error(), nil //nolint:nilerr // said in the result; the database is restored all the same
	}
	var bad []string
	for _, c := range checks {
		if !c.OK {
			bad = append(bad, c.What+": "+c.Says)
		}
	}
	if len(bad) > 0 {
		return "", fmt.Errorf("the database is not as it should be, so the service stays stopped: %s", strings.Join(bad, "; "))
	}
	return fmt.Sprintf("%d checks passed", len(checks)), nil
}

// socketOf is where the server in a directory listens, by its postmaster.pid.
func socketOf(dir string) (folder string, port uint16, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return "", 0, fmt.Errorf("find the server's socket: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 6 {
		return "", 0, fmt.Errorf("find the server's socket: %s/postmaster.pid has only %d lines", dir, len(lines))
	}
	n, err := strconv.ParseUint(strings.TrimSpace(lines[3]), 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("find the server's socket: %w", err)
	}
	folder = strings.TrimSpace(lines[4])
	if folder == "" {
		folder = strings.TrimSpace(lines[5]) // without a socket: the address it listens on
	}
	return folder, uint16(n), nil
}

func (j *job) release(ctx context.Context) (says string, err error) {
	version := j.f.withService.release
	if version == "" {
		return "as before", nil
	}
	err = j.f.host.withPort(ctx, func(p console.Port) error {
		var st console.Status
		if err := p.Ask(ctx, console.GetStatus, console.Query{}, &st); err != nil {
			return err
		}
		if st.Stable == version && st.Rollout == nil {
			says = version + " is the stable release"
			return nil
		}
		var ack console.Ack
		err := p.Do(ctx, console.Rollback, console.RollbackRequest{To: version, Force: true, Common: console.Common{Reason: j.reason()}}, &ack)
		says = ack.Message
		return err
	})
	return says, err
}

func (j *job) startService(ctx context.Context) (says string, err error) {
	err = j.f.host.withPort(ctx, func(p console.Port) error {
		var ack console.Ack
		in := console.Target{ID: j.o.ID, Common: console.Common{Reason: j.reason() + " is done"}}
		if err := p.Do(ctx, console.StartService, in, &ack); err != nil {
			return err
		}
		return await(ctx, p, func(st console.Status) bool {
			says = st.Stable + " serves"
			if st.Offline {
				says = "start covetd: " + st.Stable + " will serve"
			}
			return st.Offline || st.Stable == "" || ready(st)
		})
	})
	return says, err
}

// ready says that what has the traffic has all its instances.
func ready(st console.Status) bool {
	got, wanted := 0, 0
	for _, r := range st.Releases {
		if r.Weight > 0 {
			got, wanted = got+r.Ready, wanted+r.Wanted
		}
	}
	return wanted > 0 && got >= wanted
}
