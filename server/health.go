package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Health states, as the framework names them.
const (
	Healthy   = "healthy"   // everything works
	Degraded  = "degraded"  // something optional does not
	Unhealthy = "unhealthy" // something required does not, or the service is starting or stopping
)

const (
	defaultCheckTimeout = 2 * time.Second
	readyCacheFor       = time.Second
)

// Check asks one dependency whether it works.
type Check struct {
	Name     string
	Required bool          // failing makes the service unready; otherwise it is only degraded
	Timeout  time.Duration // 2 s if zero
	Run      func(ctx context.Context) error
}

// CheckResult is what a check found.
type CheckResult struct {
	Status    string  `json:"status"`
	LatencyMS float64 `json:"latency_ms"`
	Error     string  `json:"error,omitempty"`

	cause string // Error without what strangers need not know
}

// HealthReport is the body of the health pages.
type HealthReport struct {
	Status    string                 `json:"status"`
	Timestamp time.Time              `json:"timestamp"`
	Checks    map[string]CheckResult `json:"checks,omitempty"`
	Version   string                 `json:"version,omitempty"`
	Reason    string                 `json:"reason,omitempty"`
}

// Health knows the service's dependencies. Its methods are safe for concurrent use.
type Health struct {
	version string
	phase   func() string // why the service is not ready whatever its checks say, or ""
	log     *slog.Logger
	mu      sync.Mutex
	checks  []*check
	round   *round // the newest, perhaps still running
}

// check is a registered check. busy stops a second run beside one that ignores its time-out.
type check struct {
	Check
	busy   atomic.Bool
	failed atomic.Bool // the last time
}

// round is one run of all checks. Everybody who asks meanwhile and for a second after gets its report.
type round struct {
	done   chan struct{}
	report HealthReport // valid once done is closed
	ended  time.Time
}

// Register adds a check. Names are shown to whoever asks /health/ready.
func (h *Health) Register(c Check) {
	if c.Timeout <= 0 {
		c.Timeout = defaultCheckTimeout
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &check{Check: c})
}

// Ready runs the checks in parallel, or returns what they found within the last second.
func (h *Health) Ready(ctx context.Context) HealthReport {
	if reason := h.phase(); reason != "" {
		return HealthReport{Status: Unhealthy, Timestamp: time.Now().UTC(), Version: h.version, Reason: reason}
	}
	return h.Dependencies(ctx)
}

// Dependencies is Ready without regard to whether the service itself is starting or stopping.
func (h *Health) Dependencies(ctx context.Context) HealthReport {
	r := h.current()
	select {
	case <-r.done:
		report := r.report
		report.Checks = maps.Clone(report.Checks)
		return report
	case <-ctx.Done():
		return HealthReport{Status: Unhealthy, Timestamp: time.Now().UTC(), Version: h.version, Reason: ctx.Err().Error()}
	}
}

// current returns the round to wait for: the running one, a fresh one, or a new one.
func (h *Health) current() *round {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.round; r != nil {
		select {
		case <-r.done:
			if time.Since(r.ended) < readyCacheFor {
				return r
			}
		default:
			return r
		}
	}
	r := &round{done: make(chan struct{})}
	h.round = r
	go r.run(h.checks[:len(h.checks):len(h.checks)], h.version, h.log)
	return r
}

func (r *round) run(checks []*check, version string, log *slog.Logger) {
	results := make([]CheckResult, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i] = c.run() })
	}
	wg.Wait()
	report := HealthReport{Status: Healthy, Timestamp: time.Now().UTC(), Version: version, Checks: map[string]CheckResult{}}
	for i, c := range checks {
		report.Checks[c.Name] = results[i]
		c.tell(log, results[i])
		switch {
		case results[i].Status == Healthy:
		case c.Required:
			report.Status = Unhealthy
		case report.Status == Healthy:
			report.Status = Degraded
		}
	}
	r.report, r.ended = report, time.Now()
	close(r.done)
}

// run asks once, and gives up at the time-out whether or not the check does.
func (c *check) run() CheckResult {
	if !c.busy.CompareAndSwap(false, true) {
		return CheckResult{Status: Unhealthy, Error: "the previous check has not returned"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	start := time.Now()
	answer := make(chan error, 1)
	go func() {
		defer c.busy.Store(false)
		answer <- c.safely(ctx)
	}()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = ctx.Err()
	}
	result := CheckResult{Status: Healthy, LatencyMS: float64(time.Since(start).Microseconds()) / 1000}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", c.Timeout)
	}
	if err != nil {
		result.Status, result.Error, result.cause = Unhealthy, fmt.Sprintf("%.300s", err), cause(err)
	}
	return result
}

// tell logs a change, with all that is known of it.
func (c *check) tell(log *slog.Logger, r CheckResult) {
	switch failed := r.Status != Healthy; {
	case !c.failed.CompareAndSwap(!failed, failed):
	case failed:
		log.Warn("a health check fails", "check", c.Name, "required", c.Required, "error", r.Error)
	default:
		log.Info("a health check works again", "check", c.Name)
	}
}

// safely runs the check; one that panics has failed, and must not take the service with it.
func (c *check) safely(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return c.Run(ctx)
}

// live answers that the process answers. No dependency is asked: restarting us would not mend it.
func (h *Health) live(w http.ResponseWriter, _ *http.Request) {
	writeOwnJSON(w, http.StatusOK, HealthReport{Status: Healthy, Timestamp: time.Now().UTC(), Version: h.version})
}

func (h *Health) ready(w http.ResponseWriter, r *http.Request) {
	report := h.Ready(r.Context()).forStrangers()
	status := http.StatusOK
	if report.Status == Unhealthy {
		status = http.StatusServiceUnavailable
	}
	writeOwnJSON(w, status, report)
}

// startup answers 200 once the components have started, draining or not.
func (h *Health) startup(w http.ResponseWriter, _ *http.Request) {
	report := HealthReport{Status: Healthy, Timestamp: time.Now().UTC(), Version: h.version}
	status := http.StatusOK
	if h.phase() == phaseStarting {
		report.Status, report.Reason, status = Unhealthy, phaseStarting, http.StatusServiceUnavailable
	}
	writeOwnJSON(w, status, report)
}
