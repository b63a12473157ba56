package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/internal/prom"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/config"
)

// backupSettings collects what covetd's sources say of backups.
type backupSettings struct {
	values map[string]string
}

// declare makes the settings of backups part of covetd's configuration: checked, shown and taken from the same sources.
// Those that the runtime has itself are left to it.
func (b *backupSettings) declare() []config.Setting {
	b.values = map[string]string{}
	var out []config.Setting
	for _, s := range backupcmd.Settings() {
		if s.Name == "S3_REGION" {
			continue
		}
		out = append(out, config.Setting{Name: s.Name, Help: s.Help, Example: s.Example, Secret: s.Secret, Set: func(v string) error {
			b.values[s.Name] = v
			var c backupcmd.Config
			return s.Set(&c, v)
		}})
	}
	return out
}

// wanted says whether covetd is to look after backups: somebody said where they are, or when they are made.
func (b *backupSettings) wanted() bool {
	return b.values["COVET_REPO"] != "" || slices.ContainsFunc([]string{"BACKUP_SCHEDULE", "BACKUP_VERIFY_SCHEDULE", "BACKUP_EXPIRE_SCHEDULE", "BACKUP_DRILL_SCHEDULE"},
		func(name string) bool { return b.values[name] != "" && b.values[name] != "off" })
}

// adoptedVariable lists what adopt put into the environment: a covetd that takes over reads its sources anew.
const adoptedVariable = "COVET_ADOPTED"

// forget takes out of an environment what an earlier covetd adopted.
func forget(environ []string) []string {
	names := strings.Split(lookup(environ, adoptedVariable), ",")
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == adoptedVariable || slices.Contains(names, name)
	})
}

// adopt makes the settings covetd's own environment, which the adapters and the commands that it starts read. Workers don't
// get it.
func (b *backupSettings) adopt(service string, setenv func(name, value string) error) error {
	var names []string
	for name, value := range b.values {
		if os.Getenv(name) != value {
			names = append(names, name)
		}
		if err := setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	if err := setenv(adoptedVariable, strings.Join(names, ",")); err != nil {
		return fmt.Errorf("set %s: %w", adoptedVariable, err)
	}
	_, err := backupcmd.Adopt(nil, func(name string) string {
		if name == "SERVICE" {
			return service
		}
		return os.Getenv(name)
	}, setenv)
	return err
}

// recoveryKeeper looks after the database's recoverability: it measures, raises incidents, and runs the schedule.
type recoveryKeeper struct {
	d       *daemon
	monitor *recovery.Monitor
	config  backupcmd.Config
	stop    context.CancelFunc
	running sync.WaitGroup
}

// attachRecovery makes the keeper part of the server's life, where backups are configured.
func (d *daemon) attachRecovery(s *server.Server, b *backupSettings) error {
	if !b.wanted() {
		return nil
	}
	if err := b.adopt(d.cfg.Service, os.Setenv); err != nil {
		return err
	}
	config, err := backupcmd.LoadConfig(os.Getenv)
	if err != nil {
		return err
	}
	k := &recoveryKeeper{d: d, config: config}
	d.recovery = k
	k.monitor = &recovery.Monitor{
		Look:  func(ctx context.Context) (recovery.Facts, error) { return backupcmd.Look(ctx) },
		Raise: k.raise, Schedule: config.Schedule, Limits: config.Objectives, Log: d.log.With("logger", "recovery"),
		Keep: func(seen []recovery.Position) error { return local.WritePositions(d.cfg.DataDir, seen) },
	}
	if dsn := backupcmd.Database(); dsn != "" {
		k.monitor.Ask = func(ctx context.Context) (recovery.Position, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return pgwire.ReadPosition(ctx, dsn)
		}
	}
	s.Component(server.Component{Name: "recovery", Start: k.begin, Stop: k.end, Release: k.end, Reclaim: k.begin})
	s.Registry().MustRegister(&prom.Recovery{Posture: k.monitor.Posture})
	return nil
}

func (k *recoveryKeeper) begin(context.Context) error {
	seen, err := local.ReadPositions(k.d.cfg.DataDir)
	if err != nil {
		k.d.log.Warn("what was known of the database's log could not be read: the recovery point is estimated at first", "error", err)
	}
	k.monitor.Remember(seen)
	if err := local.WriteRepository(k.d.cfg.DataDir, backupcmd.Located(os.Getenv)); err != nil {
		k.d.log.Warn("where the backups are could not be kept: covetctl will not find them when covetd is down", "error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	k.running.Go(func() { k.d.finished("recovery monitor", k.monitor.Run(ctx)) })
	if !k.config.Schedule.Empty() {
		r := &recovery.Runner{Monitor: k.monitor, Do: runJob, Note: k.note, Log: k.d.log.With("logger", "schedule")}
		k.running.Go(func() { k.d.finished("backup schedule", r.Run(ctx)) })
	}
	return nil
}

func (k *recoveryKeeper) end(context.Context) error {
	if k.stop != nil {
		k.stop()
	}
	k.running.Wait()
	return nil
}

// raise makes the incidents fit the verdicts.
func (k *recoveryKeeper) raise(ctx context.Context, vs []recovery.Verdict) error {
	return k.decide(ctx, func(s rollout.State) ([]journal.Event, error) {
		return health.SettleAll(s.Incidents, health.DefaultMatrix(), vs, time.Now())
	})
}

// note writes a job's result to the journal, where the audit log shows it.
func (k *recoveryKeeper) note(ctx context.Context, o recovery.Outcome) error {
	return k.decide(ctx, func(rollout.State) ([]journal.Event, error) {
		return []journal.Event{journal.New(time.Now(), rollout.ByCovetd, recovery.JobRan, string(o.Kind), o)}, nil
	})
}

func (k *recoveryKeeper) decide(ctx context.Context, decide func(rollout.State) ([]journal.Event, error)) error {
	_, err := k.d.keeper.Decide(ctx, decide)
	if errors.Is(err, rollout.ErrSuspended) {
		return nil // the covetd that takes over looks for itself
	}
	return err
}

// runJob does a job by the command that a person or cron would call, in a process of its own: what it takes, and where it
// dies, is no matter of the service's.
func runJob(ctx context.Context, kind recovery.Kind) (recovery.Outcome, error) {
	o := recovery.Outcome{Kind: kind}
	program, err := covetctl()
	if err != nil {
		return o, err
	}
	cmd := exec.CommandContext(ctx, program, "backup", "schedule", "run", string(kind), "-o", "json")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &tail{b: &errs}
	runErr := cmd.Run()
	var outcomes []recovery.Outcome
	if json.Unmarshal(out.Bytes(), &outcomes) == nil && len(outcomes) == 1 {
		return outcomes[0], nil // also of one that failed: it says so itself
	}
	if runErr == nil {
		runErr = errors.New("it gave no result")
	}
	return o, fmt.Errorf("%s: %w: %s", kind, runErr, lastLine(errs.String()))
}

// covetctl finds the console's program: beside covetd's, or in the PATH.
func covetctl() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "covetctl")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	p, err := exec.LookPath("covetctl")
	if err != nil {
		return "", errors.New("the schedule needs covetctl: put it beside covetd, or into the PATH")
	}
	return p, nil
}

// tail keeps the end of what is written.
type tail struct{ b *bytes.Buffer }

const tailKept = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - tailKept; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
