package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/workers"
)

// Platform runs releases as covetd's own workers. It implements rollout.Platform.
type Platform struct {
	Supervisor *workers.Supervisor
	Meter      *Meter // measures what each instance does; adds its numbers to what is observed
}

// Observe implements rollout.Platform.
func (p *Platform) Observe(context.Context) ([]rollout.Instance, error) {
	seen := p.Supervisor.Instances()
	out := make([]rollout.Instance, len(seen))
	for i, w := range seen {
		out[i] = instance(w)
	}
	p.Meter.annotate(out)
	return out, nil
}

// Ensure implements rollout.Platform.
func (p *Platform) Ensure(ctx context.Context, d rollout.Desired) error {
	var errs []error
	for version, want := range d {
		if err := p.Supervisor.Ensure(ctx, spec(want.Release), want.Instances); err != nil {
			errs = append(errs, fmt.Errorf("run %d instances of %s: %w", want.Instances, version, err))
		}
	}
	for _, i := range p.Supervisor.Instances() {
		if _, wanted := d[i.Release]; wanted {
			continue
		}
		if err := p.Supervisor.Ensure(ctx, workers.Spec{Release: i.Release}, 0); err != nil {
			errs = append(errs, fmt.Errorf("stop the instances of %s: %w", i.Release, err))
		}
	}
	return errors.Join(errs...)
}

// Verify reports why a release cannot run on this machine: its program is not there, or is not what was recorded.
func (p *Platform) Verify(_ context.Context, r rollout.Release) error {
	return p.Supervisor.Check(spec(r))
}

func spec(r rollout.Release) workers.Spec {
	m := r.Manifest
	return workers.Spec{
		Release: r.Version, Command: m.Command, Digest: m.Executable, Dir: m.Dir, Env: maps.Clone(m.Env),
		Probe:        workers.Probe{Path: m.ReadyPath, StartTimeout: m.ReadyTimeout.Std()},
		StopGrace:    m.StopGrace.Std(),
		DrainTimeout: m.DrainTimeout.Std(),
	}
}

func instance(w workers.Instance) rollout.Instance {
	i := rollout.Instance{
		ID: w.ID, Release: w.Release, State: states[w.State], Since: w.Since, StartedAt: w.StartedAt,
		PID: w.PID, Port: w.Port, Restarts: w.Restarts, StartFailures: w.StartFailures,
		LastLog: w.LastLog, RSS: int64(w.RSS), CPU: w.CPU,
	}
	if w.State == workers.StateReady {
		return i
	}
	i.Reason = w.ProbeError
	if w.LastExit != nil && (w.PID == 0 || i.Reason == "") {
		i.Reason = w.LastExit.Reason
	}
	return i
}

var states = map[workers.State]rollout.InstanceState{
	workers.StateStarting: rollout.Starting,
	workers.StateReady:    rollout.Ready,
	workers.StateUnready:  rollout.Unready,
	workers.StateDraining: rollout.Draining,
	workers.StateStopping: rollout.Stopping,
	workers.StateBackoff:  rollout.BackOff,
	workers.StateFailed:   rollout.BackOff,
}

// usage turns the processor seconds that instances have used into how many cores they use.
type usage struct {
	mu   sync.Mutex
	last map[string]used
}

type used struct {
	at      time.Time
	pid     int
	seconds float64
	cores   float64
}

// cores is the average since the last look that was at least a second ago.
func (u *usage) cores(i rollout.Instance, now time.Time) float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]used{}
	}
	was, ok := u.last[i.ID]
	if !ok || was.pid != i.PID || i.CPU < was.seconds {
		u.last[i.ID] = used{at: now, pid: i.PID, seconds: i.CPU}
		return 0
	}
	span := now.Sub(was.at)
	if span < time.Second {
		return was.cores
	}
	cores := (i.CPU - was.seconds) / span.Seconds()
	u.last[i.ID] = used{at: now, pid: i.PID, seconds: i.CPU, cores: cores}
	return cores
}

// forget drops the instances that are no longer there.
func (u *usage) forget(here []rollout.Instance) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := make(map[string]bool, len(here))
	for _, i := range here {
		known[i.ID] = true
	}
	maps.DeleteFunc(u.last, func(id string, _ used) bool { return !known[id] })
}
