package local

import (
	"fmt"

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
	if n := l.Supervisor.DroppedLines(); n > 0 {
		out = append(out, fmt.Sprintf("%d log lines of instances could not be written: is the disk full?", n))
	}
	return out
}
