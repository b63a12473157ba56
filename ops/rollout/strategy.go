package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Strategy is how a rollout moves traffic from the stable release to the candidate.
type Strategy string

// The strategies.
const (
	Rolling   Strategy = "rolling"    // one instance at a time: start, ready, shift, drain, stop
	BlueGreen Strategy = "blue-green" // a full second set, checked, then one switch; the old set stays warm
	Canary    Strategy = "canary"     // a growing share of traffic, watched at each step
)

// Strategies lists them in the order they are shown.
func Strategies() []Strategy { return []Strategy{Canary, Rolling, BlueGreen} }

// Step is one unit of a rollout: have so many instances ready, move the traffic, drain what is too many of the old, watch,
// and ask if a person is to decide.
type Step struct {
	Weight    int              `json:"weight"`            // the candidate's share of traffic, percent
	Candidate int              `json:"candidate"`         // instances of the candidate that must be ready first
	Stable    int              `json:"stable"`            // instances of the stable release that stay afterwards
	Bake      journal.Duration `json:"bake,omitempty"`    // how long the step is watched before the next
	Approve   bool             `json:"approve,omitempty"` // a person must promote before the next step
}

// Describe says the step in words, for plans and timelines.
func (s Step) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "traffic %d%%, candidate %d, stable %d", s.Weight, s.Candidate, s.Stable)
	if s.Bake > 0 {
		fmt.Fprintf(&b, ", watch %s", s.Bake)
	}
	if s.Approve {
		b.WriteString(", then ask for approval")
	}
	return b.String()
}

// Tuning is what a person may choose about a rollout. Zero values mean the strategy's defaults.
type Tuning struct {
	Strategy  Strategy         `json:"strategy,omitempty"`
	Weights   []int            `json:"weights,omitempty"`   // canary only: the shares, ascending, ending in 100
	Bake      journal.Duration `json:"bake,omitempty"`      // per step
	NoBake    bool             `json:"no_bake,omitempty"`   // bake of zero, said on purpose
	Approve   []int            `json:"approve,omitempty"`   // ask after the steps with these weights
	Keep      journal.Duration `json:"keep,omitempty"`      // how long the old release stays warm after success
	NoKeep    bool             `json:"no_keep,omitempty"`   // keep of zero, said on purpose
	Deadline  journal.Duration `json:"deadline,omitempty"`  // how long a step may take to have its instances ready
	Instances int              `json:"instances,omitempty"` // copies of the candidate, instead of its manifest's
}

// Default tuning.
var (
	defaultWeights = []int{1, 10, 25, 50, 100}
	defaultBake    = map[Strategy]journal.Duration{
		Canary:    journal.Duration(2 * time.Minute),
		BlueGreen: journal.Duration(15 * time.Second),
		Rolling:   journal.Duration(2 * time.Second),
	}
	defaultKeep = map[Strategy]journal.Duration{
		Canary:    journal.Duration(2 * time.Minute),
		BlueGreen: journal.Duration(10 * time.Minute),
	}
)

// DefaultDeadline is how long a step may take to have its instances ready, beyond the release's own ready timeout.
const DefaultDeadline = journal.Duration(2 * time.Minute)

// Normalize fills the defaults of the strategy and checks the rest. Every fault is named at once.
func (t Tuning) Normalize() (Tuning, error) {
	var faults []error
	if t.Strategy == "" {
		t.Strategy = Canary
	}
	if !slices.Contains(Strategies(), t.Strategy) {
		return t, fmt.Errorf("strategy %q: choose one of canary, rolling, blue-green", t.Strategy)
	}
	if t.Strategy != Canary && len(t.Weights) > 0 {
		faults = append(faults, fmt.Errorf("weights go with the canary strategy, not with %s", t.Strategy))
	}
	if t.Strategy == Canary && len(t.Weights) == 0 {
		t.Weights = slices.Clone(defaultWeights)
	}
	faults = append(faults, checkWeights(t))
	if t.Bake == 0 && !t.NoBake {
		t.Bake = defaultBake[t.Strategy]
	}
	if t.Keep == 0 && !t.NoKeep {
		t.Keep = defaultKeep[t.Strategy]
	}
	if t.Deadline == 0 {
		t.Deadline = DefaultDeadline
	}
	if t.Bake < 0 || t.Keep < 0 || t.Deadline < 0 {
		faults = append(faults, errors.New("bake, keep and deadline must not be negative"))
	}
	if t.Instances < 0 || t.Instances > MaxInstances {
		faults = append(faults, fmt.Errorf("instances: %d is not between 1 and %d", t.Instances, MaxInstances))
	}
	return t, errors.Join(faults...)
}

func checkWeights(t Tuning) error {
	for i, w := range t.Weights {
		if w < 1 || w > 100 || i > 0 && w <= t.Weights[i-1] {
			return fmt.Errorf("weights %v: give ascending percentages between 1 and 100, for example 1,10,25,50,100", t.Weights)
		}
	}
	if n := len(t.Weights); n > 0 && t.Weights[n-1] != 100 {
		return fmt.Errorf("weights %v: the last one must be 100, or the rollout would never end", t.Weights)
	}
	for _, w := range t.Approve {
		if t.Strategy == Canary && !slices.Contains(t.Weights, w) {
			return fmt.Errorf("approve %d: no step has that weight; the steps are %v", w, t.Weights)
		}
	}
	return nil
}

// Steps works out the steps of a rollout from stable instances of the old release to n of the candidate. With no stable
// release (stable 0) every strategy is one step. The tuning must have been normalized.
func Steps(t Tuning, stable, n int) []Step {
	if t.Instances > 0 {
		n = t.Instances
	}
	if stable == 0 {
		return []Step{{Weight: 100, Candidate: n, Bake: t.Bake}}
	}
	switch t.Strategy {
	case Rolling:
		return rollingSteps(t, stable, n)
	case BlueGreen:
		return []Step{
			{Weight: 0, Candidate: n, Stable: stable, Bake: t.Bake, Approve: slices.Contains(t.Approve, 0)},
			{Weight: 100, Candidate: n, Stable: stable, Bake: t.Bake, Approve: slices.Contains(t.Approve, 100)},
		}
	}
	steps := make([]Step, 0, len(t.Weights))
	for _, w := range t.Weights {
		steps = append(steps, Step{
			Weight: w, Candidate: share(n, w), Stable: stable, Bake: t.Bake, Approve: slices.Contains(t.Approve, w),
		})
	}
	return steps
}

// RatioSteps are Steps for a platform whose traffic follows the number of instances: a step has as many of the candidate
// as come nearest to its weight while the stable release keeps all of its own, at least one and at most n.
func RatioSteps(t Tuning, stable, n int) []Step {
	steps := Steps(t, stable, n)
	if t.Strategy != Canary || stable == 0 {
		return steps
	}
	if t.Instances > 0 {
		n = t.Instances
	}
	for i, s := range steps {
		if s.Weight < 100 {
			steps[i].Candidate = min(max((stable*s.Weight+(100-s.Weight)/2)/(100-s.Weight), 1), max(n, 1))
		}
	}
	return steps
}

// NativeSteps is the one step of a rolling update that the platform makes itself.
func NativeSteps(t Tuning, n int) []Step {
	if t.Instances > 0 {
		n = t.Instances
	}
	return []Step{{Weight: 100, Candidate: n, Bake: t.Bake, Approve: slices.Contains(t.Approve, 100)}}
}

// rollingSteps replaces one instance at a time with a surge of one and nothing unavailable.
func rollingSteps(t Tuning, stable, n int) []Step {
	rounds := max(stable, n)
	steps := make([]Step, 0, rounds)
	for i := 1; i <= rounds; i++ {
		candidate := min(i, n)
		if i == rounds {
			candidate = n
		}
		left := max(stable-i, 0)
		if i == rounds {
			left = 0
		}
		weight := 100 * candidate / max(candidate+left, 1)
		steps = append(steps, Step{
			Weight: weight, Candidate: candidate, Stable: left, Bake: t.Bake, Approve: slices.Contains(t.Approve, weight),
		})
	}
	return steps
}

// share is how many of n instances carry w percent of the traffic, rounded up, one at the least.
func share(n, w int) int { return max(1, (n*w+99)/100) }
