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

// The steps of a database rollback, in their order.
const (
	stepStop      = "stop-service"
	stepDown      = "stop-database"
	stepCopy      = "copy"
	stepConfigure = "configure"
	stepRecover   = "recover"
	stepCheck     = "check"
	stepRelease   = "release"
	stepStart     = "start-service"
)

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
	ops := f.host.operations(f.withService.stateDir)
	if f.withService.worker != "" {
		return f.work(cmd, ops, target)
	}
	open, err := ops.Unfinished()
	if err != nil {
		return err
	}
	if open != nil && !f.plan {
		return &exitError{fmt.Errorf("restore %s of %s is not finished (%s): covetctl restore resume %s goes on with it, covetctl restore abandon %s gives it up", open.ID, open.Dir, open.Describe(), open.ID, open.ID), exitLocked}
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
	o := f.newOperation(out, m)
	if err := ops.Save(o); err != nil {
		return err
	}
	if err := startWorker(o, ops); err != nil {
		return err
	}
	return f.follow(cmd, ops, o, out)
}

// status asks the service how it is.
func (h Host) status(ctx context.Context) (st console.Status, err error) {
	err = h.withPort(ctx, func(p console.Port) error { return p.Ask(ctx, console.GetStatus, console.Query{}, &st) })
	return st, err
}

// withPort opens the port for one use: a journal that is held keeps covetd from starting.
func (h Host) withPort(ctx context.Context, use func(console.Port) error) error {
	p, err := h.Service(ctx)
	if err != nil {
		return err
	}
	err = use(p)
	if c, ok := p.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

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
	m, err := c.Manifest(ctx, plan.Backup.ID)
	if err != nil {
		return nil, nil, err
	}
	place, err := restore.Inspect(f.to)
	if err != nil {
		return nil, nil, err
	}
	if place.State != restore.Running { // the running one is stopped first
		if err := restore.Allow(f.to, place, plan.Backup.ID, true); err != nil {
			return nil, nil, err
		}
	}
	if f.withService.release != "" {
		if err := f.releaseKnown(ctx); err != nil {
			return nil, nil, err
		}
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
	out := &serviceResult{result: result{Plan: plan, Place: describe(f.to, place)}, Service: served(st), Basis: basis, Limit: limit.String()}
	out.Steps = f.steps(st, plan, took)
	var total time.Duration
	for _, s := range out.Steps {
		total += s.Duration.Std()
	}
	out.Duration = total.Round(time.Second).String()
	return out, m, nil
}

func (f *restoreFlags) releaseKnown(ctx context.Context) error {
	var got struct {
		Version string `json:"version"`
	}
	return f.host.withPort(ctx, func(p console.Port) error {
		return p.Ask(ctx, console.GetRelease, console.Query{ID: f.withService.release}, &got)
	})
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
		{fmt.Sprintf("copy backup %s over it", p.Backup.ID), fmt.Sprintf("%s, %s", f.to, size(p.Backup.Bytes)), backup.Elapsed(took), "restore to the newest point: it stays in the repository"},
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
		return &exitError{fmt.Errorf("%s of writes would be lost by now, %s were accepted: look at --plan again", p.Loss().Round(time.Second), s.acceptLoss), exitStale}
	}
	return nil
}

// newOperation is the record of what is to be done. What was decided is pinned: a restored server begins a timeline, which a
// later plan would see.
func (f *restoreFlags) newOperation(out *serviceResult, m *backup.Manifest) *restore.Operation {
	now := time.Now().UTC()
	o := &restore.Operation{
		ID: restore.NewOperationID(now), Dir: f.to, Target: out.Plan.Target, Backup: m.ID, Timeline: out.Plan.Timeline, Reaches: out.Plan.Reaches,
		Loss: backup.Elapsed(out.Plan.Loss()), Release: f.withService.release, By: operator(), Reason: f.withService.reason, Began: now,
	}
	for _, s := range []struct{ name, do string }{
		{stepStop, "stop the service"}, {stepDown, "stop PostgreSQL in " + f.to}, {stepCopy, "copy backup " + m.ID},
		{stepConfigure, "write the recovery settings"}, {stepRecover, "start PostgreSQL and replay to " + out.Plan.Target},
		{stepCheck, "check the database"}, {stepRelease, "go to release " + cmp.Or(f.withService.release, "as before")}, {stepStart, "start the service"},
	} {
		o.Steps = append(o.Steps, restore.Step{Name: s.name, Do: s.do, State: restore.Pending})
	}
	o.Args = append(f.pinned(), "--backup", m.ID, "--timeline", fmt.Sprint(uint32(out.Plan.Timeline)), "--worker", o.ID)
	return o
}

func operator() string {
	if u := os.Getenv("SUDO_USER"); u != "" {
		return u
	}
	return cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME"), fmt.Sprintf("uid %d", os.Getuid()))
}
