package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
)

// serviceFlags are those of a restore that takes the service along.
type serviceFlags struct {
	on, yes                  bool
	release, confirm, reason string
	acceptLoss               time.Duration
	checks                   []string
	checkDatabase, checkUser string
	worker, stateDir         string
}

func (f *serviceFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.on, "with-service", false, "database rollback: stop the service and PostgreSQL, restore in place, start PostgreSQL, go to --release, start the service")
	fs.StringVar(&f.release, "release", "", "with --with-service: the release that is to serve afterwards; default the one that serves now")
	fs.BoolVar(&f.yes, "yes", false, "with --with-service, or --logical --replace: do it")
	fs.StringVar(&f.confirm, "confirm", "", "with --with-service: do it, if this is what is served: ENVIRONMENT/SERVICE; with --logical --replace, if this is the database")
	fs.DurationVar(&f.acceptLoss, "accept-loss", -1, "with --with-service: do it only if no more than this is lost, such as 4m23s")
	fs.Lookup("accept-loss").DefValue = "" // any
	fs.StringVar(&f.reason, "reason", "", "with --with-service or --logical: why, for the audit log")
	fs.StringArrayVar(&f.checks, "check", nil, "with --with-service: query that must answer true before the service starts (repeatable)")
	fs.StringVar(&f.checkDatabase, "check-database", "postgres", "database to ask them in")
	fs.StringVar(&f.checkUser, "check-user", "postgres", "role to ask them as")
	fs.StringVar(&f.stateDir, "state-dir", "", "where the restore's record is kept; default covetd's data directory")
	fs.StringVar(&f.worker, "worker", "", "take up the restore of this record")
	if err := fs.MarkHidden("worker"); err != nil {
		panic(err)
	}
}

// goOn is a context that a dead terminal doesn't end: a restore that runs goes on. Ctrl-C and SIGTERM end it.
func goOn(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGHUP)
	return signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
}

// operations is where the records are kept.
func (h Host) operations(named string) restore.Operations {
	dir := named
	if dir == "" && h.StateDir != nil {
		dir = h.StateDir()
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		dir = filepath.Join(cmp.Or(os.Getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state")), "covet")
	}
	return restore.Operations{Dir: filepath.Join(dir, "restores")}
}

// serviceResult is what a database rollback prints.
type serviceResult struct {
	result
	Service   string             `json:"service"` // ENVIRONMENT/SERVICE
	Notes     []string           `json:"notes,omitempty"`
	Steps     []plannedStep      `json:"steps"`
	Duration  string             `json:"duration"` // expected
	Limit     string             `json:"rto"`
	Basis     string             `json:"basis"` // of the duration
	Command   string             `json:"command,omitempty"`
	Operation *restore.Operation `json:"operation,omitempty"`
}

type plannedStep struct {
	Do       string         `json:"do"`
	Touches  string         `json:"touches"`
	Duration backup.Elapsed `json:"duration,omitempty"`
	Undo     string         `json:"undo"`
}

// runWithService plans a database rollback, and has a process of its own do it, which it watches.
func (f *restoreFlags) runWithService(cmd *cobra.Command, target restore.Target) error {
	ctx := cmd.Context()
	if f.host.Service == nil {
		return usage(errors.New("--with-service: no service is known here"))
	}
	r := records{host: f.host, ops: f.host.operations(f.withService.stateDir)}
	if !f.plan {
		if err := r.mustBeFree(ctx, f.to, true); err != nil {
			return err
		}
	}
	st, err := f.host.status(ctx)
	if err != nil {
		return err
	}
	out, m, err := f.planWithService(ctx, st, target)
	if err != nil {
		return err
	}
	if f.plan {
		return f.print(cmd.OutOrStdout(), out, out.table)
	}
	if err := f.allowed(st, out.Plan); err != nil {
		return err
	}
	o, err := f.begin(ctx, r.ops, st, out, m)
	if err != nil {
		return err
	}
	return f.follow(cmd, r.ops, o, out)
}

// begin has a process of its own carry a plan out, where nothing is in the way.
func (f *restoreFlags) begin(ctx context.Context, ops restore.Operations, st console.Status, out *serviceResult, m *backup.Manifest) (*restore.Operation, error) {
	if err := blocked(out.InTheWay); err != nil {
		return nil, err
	}
	o := f.newOperation(&out.result, m)
	o.Service, o.Platform, o.Release = out.Service, st.Platform, f.withService.release
	if err := ops.Save(o); err != nil {
		return nil, err
	}
	j := &job{f: f, ops: ops, o: o}
	if err := j.note(ctx); err != nil { // whoever goes on with it may never see this machine
		return nil, errors.Join(err, ops.Save(dropped(o)))
	}
	return o, f.host.startWorker(o, ops)
}

// status asks the service how it is.
func (h Host) status(ctx context.Context) (st console.Status, err error) {
	err = h.withPort(ctx, func(p console.Port) error { return p.Ask(ctx, console.GetStatus, console.Query{}, &st) })
	return st, err
}

// errOpening is wrapped where a service wasn't reached at all.
var errOpening = errors.New("the service was not reached")

// withPort opens the port for one use: a journal that is held keeps covetd from starting.
func (h Host) withPort(ctx context.Context, use func(console.Port) error) error {
	p, err := h.Service(ctx)
	if err != nil {
		return &openingError{err}
	}
	err = use(p)
	if c, ok := p.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// openingError says what its cause says, and can be told from what a service answered.
type openingError struct{ error }

func (e *openingError) Unwrap() []error { return []error{e.error, errOpening} }

func served(st console.Status) string {
	if st.Environment == "" {
		return st.Service
	}
	return st.Environment + "/" + st.Service
}

// planWithService works out what will happen, and refuses what can't.
func (f *restoreFlags) planWithService(ctx context.Context, st console.Status, target restore.Target) (*serviceResult, *backup.Manifest, error) {
	c, err := f.cluster(ctx)
	if err != nil {
		return nil, nil, err
	}
	plan, err := makePlan(ctx, c, target, f.backup)
	if err != nil {
		return nil, nil, err
	}
	if target.Kind != restore.Latest { // otherwise the server archives the rest of its log first, and nothing is lost
		plan.Live = f.askLive(ctx, c.System)
	}
	m, err := c.Manifest(ctx, plan.Backup.ID)
	if err != nil {
		return nil, nil, err
	}
	place, err := restore.Inspect(f.to)
	if err != nil {
		return nil, nil, err
	}
	way, err := f.inTheWay(ctx, c, m, place)
	if err != nil {
		return nil, nil, err
	}
	if way, err = f.serviceInTheWay(ctx, st, way); err != nil {
		return nil, nil, err
	}
	facts, err := recovery.Look(ctx, c.Repository, f.service, c.System, time.Now().UTC())
	if err != nil {
		return nil, nil, err
	}
	took, basis := facts.Estimate(plan.Backup.Bytes, len(plan.Segments))
	limit := recovery.DefaultObjectives().RTO
	if conf, err := LoadConfig(os.Getenv); err == nil {
		limit = conf.Objectives.RTO
	}
	f.doubt(plan, place, c.System)
	out := &serviceResult{result: result{Plan: plan, Loses: lossOf(plan), Place: describeWithService(f.to, place), InTheWay: way}, Service: served(st), Basis: basis, Limit: limit.String()}
	if out.Tablespaces, err = f.tablespaces(m); err != nil {
		return nil, nil, err
	}
	out.Notes = f.notes
	out.Steps = f.steps(st, plan, took)
	var total time.Duration
	for _, s := range out.Steps {
		total += s.Duration.Std()
	}
	out.Duration = total.Round(time.Second).String()
	return out, m, nil
}

// serviceInTheWay adds what the service itself has against it. Whether the release can serve is found out now, while the one
// that serves still does.
func (f *restoreFlags) serviceInTheWay(ctx context.Context, st console.Status, way []obstacle) ([]obstacle, error) {
	version := f.withService.release
	if r := st.Rollout; r != nil && version == "" {
		way = append(way, obstacle{"rollout " + r.ID, fmt.Sprintf("%s → %s is under way: it would go on with the restored database", st.Stable, r.To),
			fmt.Sprintf("say which is to serve afterwards: --release %s, or --release %s", st.Stable, r.To)})
	}
	way, err := f.stopInTheWay(ctx, way)
	if err != nil || version == "" || version == st.Stable && st.Rollout == nil {
		return way, err
	}
	var plan console.Plan
	err = f.host.withPort(ctx, func(p console.Port) error {
		return p.Do(ctx, console.Rollback, console.RollbackRequest{To: version, Force: true, Common: console.Common{Plan: true}}, &plan)
	})
	var e *console.Error
	if errors.As(err, &e) && (e.Code == console.CodeRefused || e.Code == console.CodeInternal) {
		return append(way, obstacle{"release " + version, e.Message, e.Hint}), nil
	}
	if err != nil {
		return nil, err
	}
	for _, w := range plan.Warnings {
		if why, cannot := strings.CutPrefix(w, "it cannot begin: "); cannot {
			way = append(way, obstacle{"release " + version, why, "put that right first, or choose another release"})
		}
	}
	return way, nil
}

// stopInTheWay adds what stands in the way of stopping the service, and takes down what is to be known about it.
func (f *restoreFlags) stopInTheWay(ctx context.Context, way []obstacle) ([]obstacle, error) {
	var plan console.Plan
	err := f.host.withPort(ctx, func(p console.Port) error {
		return p.Do(ctx, console.StopService, console.Target{Common: console.Common{Plan: true}}, &plan)
	})
	var e *console.Error
	if errors.As(err, &e) && (e.Code == console.CodeRefused || e.Code == console.CodeLocked) {
		return append(way, obstacle{"the service", e.Message, e.Hint}), nil
	}
	for _, w := range plan.Warnings {
		if why, cannot := strings.CutPrefix(w, "it cannot begin: "); cannot {
			way = append(way, obstacle{"the service", why, "put that right first"})
		} else {
			f.notes = append(f.notes, w)
		}
	}
	return way, err
}

// steps are the plan's, with what each touches and what undoing it takes.
func (f *restoreFlags) steps(st console.Status, p *restore.Plan, took time.Duration) []plannedStep {
	release := cmp.Or(f.withService.release, st.Stable)
	went := "nothing to undo"
	if release != st.Stable {
		went = "covetctl rollout start " + st.Stable
	}
	second := backup.Elapsed(time.Second)
	return []plannedStep{
		{"stop the service: TRAFFIC STOPS HERE", served(st), 5 * second, "covetctl service start"},
		{"stop PostgreSQL, which archives the rest of its log", f.to, 5 * second, "pg_ctl start: up to here nothing is lost"},
		{"keep the log that the repository lacks", asidePath(f.to, "…"), 0, "nothing to undo"},
		{fmt.Sprintf("copy backup %s over it: WHAT IS THERE NOW IS GONE", p.Backup.ID), fmt.Sprintf("%s, %s", f.to, size(p.Backup.Bytes)), backup.Elapsed(took), "restore to the newest point: it stays in the repository"},
		{"start PostgreSQL, replay to the target, promote", fmt.Sprintf("%d WAL segments", len(p.Segments)), 0, "the same"},
		{"check every database, and the given queries", "every index, where amcheck is", 5 * second, "nothing to undo"},
		{"release " + cmp.Or(release, "none"), served(st), 0, went},
		{"start the service: TRAFFIC FLOWS AGAIN", served(st), 5 * second, "covetctl service stop"},
	}
}

// allowed decides whether a person has said what a database rollback needs.
func (f *restoreFlags) allowed(st console.Status, p *restore.Plan) error {
	s, name := f.withService, served(st)
	if s.confirm != "" && s.confirm != name {
		return usage(fmt.Errorf("--confirm %s: what is served here is %s", s.confirm, name))
	}
	if s.confirm == "" && !s.yes {
		return usage(fmt.Errorf("this stops %s, and %s of writes are lost: look at --plan, then say --yes or --confirm %s", name, p.Loss().Round(time.Second), name))
	}
	if s.acceptLoss >= 0 && p.Loss().Round(time.Second) > s.acceptLoss {
		return &exitError{fmt.Errorf("%s of writes would be lost by now, %s were accepted: look at --plan again, or accept more, such as --accept-loss %s",
			p.Loss().Round(time.Second), s.acceptLoss, (p.Loss() + time.Minute).Truncate(time.Minute)), exitStale}
	}
	return nil
}

// newOperation is the record of what is to be done. What was decided is pinned: a restored server begins a timeline, which a
// later plan would see.
func (f *restoreFlags) newOperation(out *result, m *backup.Manifest) *restore.Operation {
	now, p := time.Now().UTC(), out.Plan
	o := &restore.Operation{
		ID: restore.NewOperationID(now), Host: restore.ThisHost(), Dir: f.to, Target: p.Target, Backup: m.ID, Timeline: p.Timeline, Reaches: p.Reaches,
		Loss: backup.Elapsed(p.Loss()), By: operator(), Reason: f.withService.reason, Began: now, Replay: restore.Replay{From: p.Backup.StartLSN, To: p.End()},
	}
	for _, s := range f.jobSteps(m.ID, p.Target) {
		s.State = restore.Pending
		o.Steps = append(o.Steps, s)
	}
	o.Args = append(f.pinned(), "--backup", m.ID, "--timeline", fmt.Sprint(uint32(p.Timeline)))
	return o
}

// jobSteps are those that this restore has.
func (f *restoreFlags) jobSteps(backupID, target string) []restore.Step {
	steps := []restore.Step{{Name: stepCopy, Do: "copy backup " + backupID}, {Name: stepConfigure, Do: "write the recovery settings"}}
	start := restore.Step{Name: stepRecover, Do: "start PostgreSQL and replay to " + target}
	switch {
	case f.withService.on:
		steps = append([]restore.Step{
			{Name: stepStop, Do: "stop the service"}, {Name: stepDown, Do: "stop PostgreSQL in " + f.to}, {Name: stepKeep, Do: "keep the log that the repository lacks"},
		}, steps...)
		return append(steps, start, restore.Step{Name: stepCheck, Do: "check the database"},
			restore.Step{Name: stepRelease, Do: "go to release " + cmp.Or(f.withService.release, "as before")}, restore.Step{Name: stepStart, Do: "start the service"})
	case f.start:
		return append(steps, start)
	}
	return steps
}
