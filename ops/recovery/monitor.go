package recovery

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Monitor looks again and again at how recoverable a database is, and has incidents raised where it isn't as promised.
type Monitor struct {
	Look     func(ctx context.Context) (Facts, error)
	Ask      func(ctx context.Context) (Position, error) // nil: no server is named
	Raise    func(ctx context.Context, vs []Verdict) error
	Keep     func(seen []Position) error // so that a restart doesn't forget; nil: it may
	Schedule Schedule
	Limits   Objectives
	Log      *slog.Logger
	Every    time.Duration // between two looks; everyLook where zero. A slow repository is looked at less often

	mu      sync.Mutex
	posture *Posture
	facts   Facts
	seen    []Position
	silent  time.Time // since when the repository has not answered
	wake    chan struct{}
	once    sync.Once
}

const (
	everyLook     = 20 * time.Second
	lookLimit     = 2 * time.Minute
	positionsKept = 4000
)

// Remember takes up the positions that an earlier process saw.
func (m *Monitor) Remember(seen []Position) { m.seen = seen }

// Posture is what was found last; nil before the first look is over.
func (m *Monitor) Posture() *Posture {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.posture
}

// Facts are those of the last look that succeeded; ok says whether there was one.
func (m *Monitor) Facts() (f Facts, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.facts, !m.facts.At.IsZero()
}

// Wake has it look at once.
func (m *Monitor) Wake() {
	select {
	case m.woken() <- struct{}{}:
	default:
	}
}

func (m *Monitor) woken() chan struct{} {
	m.once.Do(func() { m.wake = make(chan struct{}, 1) })
	return m.wake
}

// Run looks until the context ends.
func (m *Monitor) Run(ctx context.Context) error {
	every := m.Every
	if every == 0 {
		every = everyLook
	}
	for {
		began := time.Now()
		m.look(ctx)
		wait := time.NewTimer(max(every, 20*time.Since(began)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-m.woken():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// look asks the server first: what it has written by then and the repository doesn't hold is what would be lost.
func (m *Monitor) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	o := m.observe(limited)
	facts, err := m.Look(limited)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	verdicts := []Verdict{m.answered(facts, err, o, now)}
	m.mu.Lock()
	if err == nil {
		verdicts = append(verdicts, m.posture.Verdicts...)
	}
	m.mu.Unlock()
	if err := m.Raise(ctx, verdicts); err != nil {
		m.Log.Warn("the state of recovery could not be written to the journal", "error", err)
	}
}

func (m *Monitor) observe(ctx context.Context) Observed {
	if m.Ask == nil {
		return Observed{Unnamed: true}
	}
	p, err := m.Ask(ctx)
	if err != nil {
		return Observed{Positions: m.seen, Err: err}
	}
	m.seen = append(m.seen, p)
	if n := len(m.seen); n > positionsKept {
		m.seen = append([]Position(nil), m.seen[n-positionsKept/2:]...)
	}
	if m.Keep != nil {
		if err := m.Keep(m.seen); err != nil {
			m.Log.Warn("the database's positions could not be kept", "error", err)
		}
	}
	return Observed{Positions: m.seen}
}

// answered takes a look's result over, and judges the repository itself.
func (m *Monitor) answered(f Facts, err error, o Observed, now time.Time) Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		p := Judge(f, o, m.Schedule, m.Limits, now)
		m.posture, m.facts, m.silent = &p, f, time.Time{}
		return Unreadable(0, nil, 0)
	}
	if m.silent.IsZero() {
		m.silent = now
		m.Log.Warn("the backup repository cannot be read", "error", err)
	}
	p := Posture{Database: "not asked"}
	if m.posture != nil {
		p = *m.posture // as it was, with its own time
	}
	p.Unknown, p.Lag = err.Error(), -1
	if m.posture == nil || m.posture.Unknown == "" { // else that it can't be known has been said already
		p.RPO, p.RTO = p.RPO.forgotten(p.At, m.Limits.RPO), p.RTO.forgotten(p.At, m.Limits.RTO)
	}
	m.posture = &p
	return Unreadable(now.Sub(m.silent), err, m.Limits.RPO)
}
