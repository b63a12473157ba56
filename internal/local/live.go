package local

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/workers"
)

// Live is what is known beyond the journal while covetd runs. It implements console.Live.
type Live struct {
	Engine     *rollout.Engine
	Meter      *Meter
	Supervisor *workers.Supervisor
}

// Snapshot implements console.Live.
func (l *Live) Snapshot() rollout.Snapshot { return l.Engine.Last() }

// Points implements console.Live.
func (l *Live) Points() (console.Point, map[string]console.Point) { return l.Meter.Points() }

// Series implements console.Live.
func (l *Live) Series() console.Series { return l.Meter.Series() }

// Problems implements console.Live.
func (l *Live) Problems() []string {
	var out []string
	if err := l.Engine.Problem(); err != nil {
		out = append(out, fmt.Sprintf("the rollout engine cannot go on, and tries again: %v", err))
	}
	return append(out, logProblems(l.Supervisor.LogLoss(), time.Now())...)
}

// logNews is how long a loss of log lines is a problem of now: afterwards the log itself says that lines are missing.
const logNews = 10 * time.Minute

// logProblems tells a disk that takes nothing from a release that says too much.
func logProblems(loss workers.LogLoss, now time.Time) []string {
	var out []string
	if loss.Unwritten > 0 && now.Sub(loss.UnwrittenAt) < logNews {
		out = append(out, fmt.Sprintf("%d log lines of instances could not be written: is the disk full?", loss.Unwritten))
	}
	if loss.Flooded > 0 && now.Sub(loss.FloodedAt) < logNews {
		out = append(out, fmt.Sprintf("release %s writes more log than is kept: %d lines are missing in the log files",
			loss.FloodedBy, loss.Flooded))
	}
	return out
}
