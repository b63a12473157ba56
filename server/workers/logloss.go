package workers

import "time"

// LogLoss counts the lines that are missing in the log files since covetd began. The two causes need different people: one is
// a disk that takes nothing, the other a release that says too much.
type LogLoss struct {
	Unwritten   uint64    // the disk refused them
	UnwrittenAt time.Time // when it last did
	Flooded     uint64    // they came faster than a log may grow
	FloodedAt   time.Time // when they last did
	FloodedBy   string    // the release that wrote the last of them
}

// Lines is how many are missing for either cause.
func (l LogLoss) Lines() uint64 { return l.Unwritten + l.Flooded }

func (l *LogLoss) flooded(at time.Time, release string) {
	l.Flooded++
	l.FloodedAt, l.FloodedBy = at, release
}
