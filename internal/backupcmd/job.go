package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// The steps of a restore, in their order; those of a database rollback beside the plain ones.
const (
	stepStop      = "stop-service"
	stepDown      = "stop-database"
	stepKeep      = "keep-log"
	stepCopy      = "copy"
	stepConfigure = "configure"
	stepRecover   = "recover"
	stepCheck     = "check"
	stepRelease   = "release"
	stepStart     = "start-service"
)

// job is a restore at work. Every step can be done again: what it finds done already it leaves.
type job struct {
	f       *restoreFlags
	ops     restore.Operations
	o       *restore.Operation
	target  restore.Target
	tell    func(backup.Progress) // a person who waits for it; nil: none
	pace    backup.Pace
	saved   time.Time
	stats   *restore.Stats
	reached *reached
	logKept time.Time // until when the log is kept that a server which isn't started yet needs
}

// work takes up the restore of a record, in a process of its own.
func (f *restoreFlags) work(ctx context.Context, ops restore.Operations, target restore.Target) error {
	ctx, stop := goOn(ctx)
	defer stop()
	o, err := ops.Load(f.withService.worker)
	if err != nil {
		return err
	}
	if o.Finished() {
		return nil
	}
	return halfDone((&job{f: f, ops: ops, o: o, target: target}).hold(ctx))
}

// hold does the job while nobody else restores into the directory.
func (j *job) hold(ctx context.Context) error {
	release, err := restore.Hold(j.f.to)
	if err != nil {
		return &exitError{err, exitLocked}
	}
	return errors.Join(j.guarded(ctx), release())
}

// guarded does the job while its backup is kept from expiring.
func (j *job) guarded(ctx context.Context) error {
	c, err := j.f.cluster(ctx)
	if err != nil {
		return j.run(ctx) // whose steps may need no repository; one that does says why it fails
	}
	warn := func(err error) { _, _ = fmt.Fprintln(os.Stderr, "warning:", err) } // a worker's is its log
	after := replayWithin
	if j.f.starts() {
		after = 0 // it is replayed when this ends
	}
	j.logKept, err = guard(ctx, c, j.o.Backup, after, warn, func() error {
		if err := j.stillStored(ctx, c); err != nil {
			return j.fail(j.o.Current(), err)
		}
		return j.run(ctx)
	})
	return err
}

// stillStored fails where the backup has expired between the plan and its announcement: before a service is stopped for it.
func (j *job) stillStored(ctx context.Context, c backup.Cluster) error {
	if j.o.Step(stepCopy).State == restore.Done {
		return nil
	}
	heads, err := c.Backups(ctx) // what can't be listed may be readable still: the copy finds out
	if err == nil && !slices.ContainsFunc(heads, func(h backup.Head) bool { return h.ID == j.o.Backup }) {
		return fmt.Errorf("backup %s has expired since this was planned; nothing was touched: plan it again", j.o.Backup)
	}
	return nil
}

// replayWithin is how long the log is kept for a server that somebody starts after the restore.
const replayWithin = 24 * time.Hour

func (j *job) run(ctx context.Context) error {
	j.o.PID, j.o.Host, j.o.Error = os.Getpid(), restore.ThisHost(), ""
	if err := j.rewind(); err != nil {
		return err
	}
	do := map[string]func(context.Context) (string, error){
		stepStop: j.stopService, stepDown: j.stopDatabase, stepKeep: j.keepLog, stepCopy: j.copy, stepConfigure: j.configure,
		stepRecover: j.recover, stepCheck: j.check, stepRelease: j.release, stepStart: j.startService,
	}
	for s := j.o.Current(); s != nil; s = j.o.Current() {
		s.State, s.Began, s.Ended, s.Says = restore.Doing, time.Now().UTC(), time.Time{}, ""
		if err := j.keep(ctx); err != nil { // nobody may find less in the record than has been begun
			return err
		}
		says, err := do[s.Name](ctx)
		s.Ended, s.Says, j.o.Progress = time.Now().UTC(), says, nil
		if err != nil {
			return j.fail(s, err)
		}
		s.State = restore.Done
		if err := j.ops.Save(j.o); err != nil {
			return err
		}
	}
	j.o.Ended, j.o.PID = time.Now().UTC(), 0
	return j.keep(ctx)
}

// rewind takes the steps back to the copy where the files that the record tells of aren't there any more.
func (j *job) rewind() error {
	place, err := restore.Inspect(j.f.to)
	if err != nil || place.State == restore.Occupied || place.State == restore.Running {
		return err
	}
	back := false
	for i := range j.o.Steps {
		s := &j.o.Steps[i]
		back = back || s.Name == stepCopy && s.State == restore.Done
		if back {
			s.State = restore.Pending
		}
	}
	return nil
}

// fail leaves the record of a step that failed.
func (j *job) fail(s *restore.Step, err error) error {
	s.State, s.Says, j.o.Error, j.o.PID = restore.Failed, err.Error(), err.Error(), 0
	ctx, cancel := context.WithTimeout(context.Background(), notePatience) // the job's own may be what has ended
	defer cancel()
	return errors.Join(fmt.Errorf("%s: %w", s.Do, err), j.ops.Save(j.o), j.note(ctx))
}

// keep writes the record where it is found again: here, and in the service's journal.
func (j *job) keep(ctx context.Context) error {
	if err := j.ops.Save(j.o); err != nil {
		return err
	}
	return j.note(ctx)
}

// report keeps how far the step is, once in a while.
func (j *job) report(p backup.Progress) {
	if j.tell != nil {
		j.tell(p)
	}
	p = j.pace.Of(p)
	if time.Since(j.saved) < 500*time.Millisecond {
		return
	}
	j.saved = time.Now()
	j.o.Progress = &p
	_ = j.ops.Save(j.o) // progress that can't be told is no reason to stop the work
}
