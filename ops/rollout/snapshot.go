package rollout

import (
	"context"
	"time"

	"github.com/covetpy/covet/ops/health"
)

// InstanceState is what an instance is doing.
type InstanceState string

// The states of an instance.
const (
	Starting InstanceState = "starting"
	Ready    InstanceState = "ready"
	Unready  InstanceState = "unready"
	Draining InstanceState = "draining"
	Stopping InstanceState = "stopping"
	BackOff  InstanceState = "backoff"
)

// Instance is one running copy of a release, as it was observed.
type Instance struct {
	ID            string        `json:"id"`
	Release       string        `json:"release"` // version
	State         InstanceState `json:"state"`
	Since         time.Time     `json:"since"`
	StartedAt     time.Time     `json:"started_at,omitzero"`
	PID           int           `json:"pid,omitempty"`
	Port          int           `json:"port,omitempty"`
	Restarts      int           `json:"restarts"`
	StartFailures int           `json:"start_failures,omitempty"` // ends before it was ever ready, in a row
	Reason        string        `json:"reason,omitempty"`         // why it is not ready, in the instance's own words
	LastLog       []string      `json:"last_log,omitempty"`
	CPU           float64       `json:"cpu"`       // cores in use, averaged over the last seconds
	RSS           int64         `json:"rss"`       // bytes
	InFlight      int           `json:"in_flight"` // requests being answered
	RequestRate   float64       `json:"request_rate"`
	ErrorRate     float64       `json:"error_rate"` // share of answers that were 5xx, 0 to 1
	P95           float64       `json:"p95_ms"`
}

// Snapshot is what was really there at one moment, never what was last asked for.
type Snapshot struct {
	At        time.Time
	Instances []Instance
	Weights   Weights
	Candidate string // where x-canary requests go
	Unsettled bool   // the platform has yet to put in order what a rollout has left
	Health    health.Assessment
}

// Count returns how many instances of the release are ready, and how many there are that are not on their way out.
func (s Snapshot) Count(version string) (ready, present int) {
	for n := range s.Instances {
		i := &s.Instances[n]
		if i.Release != version || i.State == Draining || i.State == Stopping {
			continue
		}
		present++
		if i.State == Ready {
			ready++
		}
	}
	return ready, present
}

// Ready counts the ready instances of each release.
func (s Snapshot) Ready() map[string]int {
	out := map[string]int{}
	release, run := "", 0 // those of one release come together
	for n := range s.Instances {
		i := &s.Instances[n]
		if i.State != Ready {
			continue
		}
		if run > 0 && i.Release != release {
			out[release] += run
			run = 0
		}
		release = i.Release
		run++
	}
	if run > 0 {
		out[release] += run
	}
	return out
}

// Weights is each release's share of traffic in percent. Shares add up to 100, or the map is empty when nothing serves.
type Weights map[string]int

// Desired is what should be there: how many instances of which releases, everything else stopped.
type Desired map[string]Want

// Want is one release's part of Desired.
type Want struct {
	Release   Release
	Instances int
	InPlace   bool // it takes the place of whatever has the traffic now, gradually, by the platform's own means
}

// Platform is where releases run. Ensure is idempotent: asked twice for the same, it does nothing the second time. It
// returns once the work is under way; Observe tells how it went.
type Platform interface {
	Observe(ctx context.Context) ([]Instance, error)
	Ensure(ctx context.Context, d Desired) error
}

// Settler is a Platform that takes time to put in order what a rollout has left.
type Settler interface {
	Settled() bool
}

// Router splits traffic between releases, and sends requests marked x-canary to the candidate. Weights reads back what is
// in force; it is never assumed.
type Router interface {
	Weights(ctx context.Context) (w Weights, candidate string, err error)
	SetWeights(ctx context.Context, w Weights, candidate string) error
}
