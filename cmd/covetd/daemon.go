package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/internal/prom"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/admin"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/notice"
	"github.com/covetpy/covet/server/proxy"
	"github.com/covetpy/covet/server/workers"
)

// daemon is what covetd runs on one machine: journal, workers, balancer and the engine over them.
type daemon struct {
	cfg        config.Config
	log        *slog.Logger
	version    string
	succeeding bool // it takes over from a covetd that still serves
	balancer   *proxy.Balancer
	backend    *lateBackend
	roles      *rolesSetting
	notify     func(context.Context, notice.Notice) error // nil: nobody is to be told

	journal    *local.Journal
	keeper     *rollout.Keeper
	supervisor *workers.Supervisor
	meter      *local.Meter
	engine     *rollout.Engine
	recovery   *recoveryKeeper // nil: no backups are configured

	stop    context.CancelFunc
	running sync.WaitGroup
}

// journalWait is how long a start waits for another covetd to let go of the journal: one that was just told to stop.
const journalWait = 5 * time.Second

func newDaemon(cfg config.Config, log *slog.Logger, version string) *daemon {
	return &daemon{
		cfg: cfg, log: log, version: version, backend: newLateBackend(),
		balancer: proxy.New(proxy.Options{TrustedProxies: cfg.TrustedProxies, Logger: log.With("logger", "balancer")}),
	}
}

// attach puts the daemon's parts into the server's life.
func (d *daemon) attach(s *server.Server) {
	s.Fallback(d.balancer)
	if d.cfg.Notices.Wanted() {
		d.notify = s.Notify
	}
	s.OnDrain(d.endStreams)
	peers := admin.NewPeers()
	s.AdminHandler(admin.New(d.backend, peers.Identify, d.log.With("logger", "admin")))
	s.Health().Register(server.Check{Name: "instances", Required: true, Timeout: time.Second, Run: d.checkInstances})
	s.Component(server.Component{Name: "journal", Start: d.openJournal, Stop: d.closeJournal, Release: d.closeJournal, Reclaim: d.reopenJournal})
	s.Component(server.Component{Name: "workers", Start: d.startWorkers, Stop: d.stopWorkers})
	s.Component(server.Component{Name: "engine", Start: d.startEngine, Stop: d.stopEngine, Release: d.stopEngine, Reclaim: d.runEngine})
	s.Registry().MustRegister(&prom.Collector{Stats: d.balancer.Stats, State: d.state, Seen: d.seen})
}

func (d *daemon) state() rollout.State {
	if d.keeper == nil {
		return rollout.State{}
	}
	return d.keeper.State()
}

func (d *daemon) seen() rollout.Snapshot {
	if d.engine == nil {
		return rollout.Snapshot{}
	}
	return d.engine.Last()
}

func (d *daemon) openJournal(ctx context.Context) error {
	j, err := local.OpenJournal(d.cfg.DataDir, journalWait)
	if err != nil {
		return journalTrouble(d.cfg.DataDir, err)
	}
	keeper, err := rollout.OpenKeeper(ctx, j)
	if err != nil {
		return errors.Join(err, j.Close())
	}
	d.journal, d.keeper = j, keeper
	return local.WritePlace(d.cfg.DataDir, local.Place{Service: d.cfg.Service, Environment: d.cfg.Environment,
		Version: d.version, Socket: d.cfg.AdminSocket, PID: os.Getpid()})
}

func journalTrouble(dir string, err error) error {
	if errors.Is(err, local.ErrJournalBusy) {
		return fmt.Errorf("%w: another covetd runs with the data directory %s; stop it, or give this one another (DATA_DIR)", err, dir)
	}
	if errors.Is(err, local.ErrJournalDamaged) {
		return err
	}
	return fmt.Errorf("%w: covetd keeps its state in %s, which must be writable and have space", err, dir)
}

func (d *daemon) closeJournal(context.Context) error {
	if d.journal == nil {
		return nil // it never opened
	}
	d.keeper.Suspend()
	return d.journal.Close()
}

func (d *daemon) reopenJournal(ctx context.Context) error {
	j, err := local.OpenJournal(d.cfg.DataDir, journalWait)
	if err != nil {
		return err
	}
	d.journal = j
	return d.keeper.Resume(ctx, j)
}

func (d *daemon) startWorkers(context.Context) error {
	s, err := workers.New(workers.Options{
		Traffic: local.Traffic{Balancer: d.balancer}, StateDir: d.cfg.DataDir, Logger: d.log.With("logger", "workers"),
	})
	if err != nil {
		return err
	}
	d.supervisor = s
	return nil
}

func (d *daemon) stopWorkers(ctx context.Context) error {
	if d.supervisor == nil {
		return nil // it never started
	}
	return d.supervisor.Close(ctx)
}

// endStreams ends what no request's end would: WebSockets at once, and, once half of the time for requests has passed, the
// workers with the streams they still answer, which only they can end properly. The engine must not see its instances go.
func (d *daemon) endStreams(ctx context.Context) {
	d.balancer.GoAway()
	end, _ := ctx.Deadline()
	half := time.NewTimer(time.Until(end) / 2)
	defer half.Stop()
	select {
	case <-ctx.Done():
		return
	case <-half.C:
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end) // the workers may take longer to end than their streams
	defer cancel()
	if err := errors.Join(d.stopEngine(ctx), d.stopWorkers(ctx)); err != nil {
		d.log.Warn("not everything under way ended in time", "error", err)
	}
}

// checkInstances is covetd's readiness: somebody can answer.
func (d *daemon) checkInstances(context.Context) error {
	for _, i := range d.seen().Instances {
		if i.State == rollout.Ready {
			return nil
		}
	}
	if d.cfg.App.Upstream != "" {
		return nil
	}
	return errors.New("no instance of any release is ready")
}

// startEngine begins to drive, and returns once the releases that the journal wants to have traffic are ready.
func (d *daemon) startEngine(ctx context.Context) error {
	if err := d.bootstrap(ctx); err != nil {
		return err
	}
	matrix := health.DefaultMatrix()
	now := time.Now()
	d.meter = local.NewMeter(d.balancer, matrix, now)
	if err := d.meter.Remember(d.cfg.DataDir); err != nil {
		d.log.Warn("the error budget's past could not be read: the long windows begin anew", "error", err)
	}
	d.engine = &rollout.Engine{
		Keeper: d.keeper, Router: &local.Router{Balancer: d.balancer}, Signals: d.meter, Matrix: matrix,
		Platform: &local.Platform{Supervisor: d.supervisor, Meter: d.meter}, Log: d.log.With("logger", "engine"),
		Wake: d.supervisor.Watch(ctx),
	}
	d.backend.set(&deskBackend{desk: d.desk(now, matrix), supervisor: d.supervisor})
	if err := d.runEngine(ctx); err != nil {
		return err
	}
	return d.awaitReady(ctx)
}

func (d *daemon) desk(now time.Time, matrix health.Matrix) *console.Desk {
	desk := &console.Desk{
		Keeper: d.keeper, Verifier: &local.Platform{Supervisor: d.supervisor, Meter: d.meter}, Matrix: matrix,
		Live: &local.Live{Engine: d.engine, Meter: d.meter, Supervisor: d.supervisor}, Burn: d.meter.Burn, Log: d.log.With("logger", "desk"),
		Info: console.Info{Service: d.cfg.Service, Environment: d.cfg.Environment, Platform: "local", Version: d.version,
			PID: os.Getpid(), StartedAt: now},
		Roles: d.roles.get,
	}
	if d.recovery != nil {
		desk.Recovery = d.recovery.monitor.Posture
	}
	return desk
}

func (d *daemon) runEngine(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.running.Go(func() { d.finished("engine", d.engine.Run(ctx)) })
	if d.notify != nil {
		h := &herald{keeper: d.keeper, environment: d.cfg.Environment, service: d.cfg.Service, notify: d.notify,
			mark: markOf(d.cfg.DataDir), log: d.log.With("logger", "herald")}
		if err := h.begin(); err != nil {
			d.finished("herald", err)
		} else {
			d.running.Go(func() { d.finished("herald", h.run(ctx)) })
		}
	}
	d.running.Go(func() { d.finished("meter", d.meter.Run(ctx, d.cfg.DataDir, d.unkept)) })
	return nil
}

func (d *daemon) unkept(err error) {
	d.log.Warn("the error budget's past could not be kept: after a restart the long windows begin anew", "error", err)
}

func (d *daemon) finished(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		d.log.Error("a part of covetd has stopped", "part", what, "error", err)
	}
}

func (d *daemon) stopEngine(context.Context) error {
	if d.stop != nil {
		d.stop()
	}
	d.running.Wait()
	return nil
}

// awaitReady waits until every release with traffic has its instances ready. A process that takes over from another must
// not begin without; one that starts from nothing begins anyway after a while, and says so by /health/ready.
func (d *daemon) awaitReady(ctx context.Context) error {
	deadline := time.NewTimer(readyPatience)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		missing := d.missing()
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			if d.succeeding {
				return fmt.Errorf("%s within %s", missing, readyPatience)
			}
			d.log.Warn("covetd starts although not every instance is ready", "missing", missing)
			return nil
		case <-poll.C:
		}
	}
}

// readyPatience is how long a start waits for its instances.
const readyPatience = 45 * time.Second

// missing says which release with traffic has too few ready instances, or nothing.
func (d *daemon) missing() string {
	s, seen := d.keeper.State(), d.engine.Last()
	want := rollout.Wanted(s)
	for version := range want.Weights {
		if ready, _ := seen.Count(version); ready < want.Instances[version] {
			return fmt.Sprintf("%d of %d instances of %s are ready", ready, want.Instances[version], version)
		}
	}
	return ""
}
