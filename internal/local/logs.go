package local

import (
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/server/workers"
)

// LogFilter is which lines of the workers a query asks for.
func LogFilter(q console.LogQuery) workers.LogFilter {
	return workers.LogFilter{Release: q.Release, Instance: q.Instance, After: q.After, Tail: q.Lines}
}

// LogLine is a line of a worker as the console shows it.
func LogLine(l workers.LogLine) console.LogLine {
	return console.LogLine{Seq: l.Seq, At: l.Time, Release: l.Release, Instance: l.Instance, Stream: l.Stream, Text: l.Text}
}
