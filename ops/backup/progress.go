package backup

import (
	"math"
	"time"
)

// Progress is how far a long operation is.
type Progress struct {
	Phase   string        `json:"phase"` // "copy", "upload", "wal", "manifest" and the like
	Done    int64         `json:"done"`  // bytes
	Total   int64         `json:"total"` // bytes, estimated; 0: not known
	Stored  int64         `json:"stored"`
	Elapsed time.Duration `json:"elapsed"`
	Recent  float64       `json:"recent,omitempty"` // bytes a second of late, by a Pace; 0: not known
}

// Rate is bytes a second: of late where that is known, otherwise since the beginning.
func (p Progress) Rate() float64 {
	if p.Recent > 0 {
		return p.Recent
	}
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Done) / p.Elapsed.Seconds()
}

// ETA is the time still to go at the rate so far; negative where it can't be told: also while next to nothing is done, whose rate
// says nothing.
func (p Progress) ETA() time.Duration {
	if r := p.Rate(); r > 0 && p.Total > 0 && p.Done > p.Total/1000 {
		return time.Duration(float64(max(p.Total-p.Done, 0)) / r * float64(time.Second))
	}
	return -1
}

// memory is how far back a Pace looks: what was longer ago counts for less than a third.
const memory = 10 * time.Second

// Pace tells how fast an operation is of late. The rate since the beginning is wrong for long after it stood still, or began with what
// cost nothing.
type Pace struct {
	at             time.Duration
	done           int64
	bytes, seconds float64 // each weighs less the longer ago it was
}

// Of returns p with its recent rate. The earlier calls were with the same operation's earlier progress.
func (c *Pace) Of(p Progress) Progress {
	if p.Done < c.done || p.Elapsed < c.at { // another step
		*c = Pace{}
	}
	if dt := (p.Elapsed - c.at).Seconds(); dt > 0 {
		fade := math.Exp(-dt / memory.Seconds())
		weight := memory.Seconds() * (1 - fade) // of dt, whose own beginning is long ago too where it is long
		c.bytes, c.seconds = c.bytes*fade+float64(p.Done-c.done)/dt*weight, c.seconds*fade+weight
		c.at, c.done = p.Elapsed, p.Done
	}
	if c.seconds > 0 {
		p.Recent = c.bytes / c.seconds
	}
	return p
}

// meter reports progress, not more often than every 250 ms.
type meter struct {
	report func(Progress)
	began  time.Time
	last   time.Time
	p      Progress
}

func newMeter(report func(Progress)) *meter {
	if report == nil {
		report = func(Progress) {}
	}
	now := time.Now()
	return &meter{report: report, began: now}
}

// phase begins another phase and reports it at once.
func (m *meter) phase(name string) {
	m.p.Phase = name
	m.tell()
}

// add counts bytes.
func (m *meter) add(n int, stored int64) {
	m.p.Done += int64(n)
	m.p.Stored = stored
	if time.Since(m.last) > 250*time.Millisecond {
		m.tell()
	}
}

func (m *meter) tell() {
	m.last = time.Now()
	m.p.Elapsed = m.last.Sub(m.began)
	m.report(m.p)
}
