package local

import (
	"context"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func duration(d time.Duration) journal.Duration { return journal.Duration(d) }

// Evidence implements rollout.Signals.
func (m *Meter) Evidence(_ context.Context, s rollout.State, instances []rollout.Instance, now time.Time) (health.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := health.Evidence{At: now, Service: health.Arm{Windows: m.windows(m.service, s.ServesSince, now)}}
	for _, i := range instances {
		ev.Service.Present++
		if i.State == rollout.Ready {
			ev.Service.Ready++
		}
	}
	if ev.Service.Ready == 0 && len(rollout.Wanted(s).Weights) > 0 {
		down := m.ready[""]
		if s.ServesSince.After(down) {
			down = s.ServesSince // before that it was stopped on purpose
		}
		ev.Service.DownFor = now.Sub(down)
	}
	if r := s.Active; r != nil {
		ev.Candidate = m.arm(r.To, r.JudgedAt, instances, now)
		if r.From != "" {
			ev.Stable = m.arm(r.From, r.JudgedAt, instances, now)
		}
	}
	return ev, nil
}

// arm is one release's evidence since a moment. m.mu is held.
func (m *Meter) arm(version string, since time.Time, instances []rollout.Instance, now time.Time) *health.Arm {
	a := &health.Arm{Release: version, Since: since}
	for _, i := range instances {
		if i.Release != version {
			continue
		}
		a.Present++
		a.Restarts += i.Restarts
		if i.State == rollout.Ready {
			a.Ready++
		}
	}
	if known := m.arms[version]; known != nil {
		a.Windows = m.windows(known.counts, since, now)
	}
	return a
}

// windows looks back over every span of the matrix, but not beyond since.
func (m *Meter) windows(c *health.Counts, since, now time.Time) []health.Window {
	spans := m.Matrix.Spans()
	out := make([]health.Window, len(spans))
	for i, span := range spans {
		w := c.Window(now, min(span, now.Sub(since)))
		w.Span = span
		out[i] = w
	}
	return out
}

// Burn is how fast the service's error budget goes over each of the matrix's windows.
func (m *Meter) Burn(now time.Time) []console.Burn {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []console.Burn
	for _, w := range m.windows(m.service, time.Time{}, now) {
		out = append(out, console.Burn{Window: duration(w.Span), Rate: m.Matrix.Burn(w)})
	}
	return out
}
