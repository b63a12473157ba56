package config

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with the configuration. It never holds the value of a secret.
type Fault struct {
	Name    string // the setting, as its source spells it
	Problem string // what is wrong
	Example string // a line that would be right; may be empty
	Source  string // environment, flag, or the file and line
}

// String writes the fault as one line.
func (f Fault) String() string {
	s := f.Name
	if f.Source != "" {
		s += " (" + f.Source + ")"
	}
	s += ": " + f.Problem
	if f.Example != "" {
		s += "; for example " + f.Example
	}
	return s
}

// Error holds every fault that [Load] found.
type Error struct {
	Faults []Fault
}

// Error lists the faults, one to a line.
func (e *Error) Error() string {
	noun := "faults"
	if len(e.Faults) == 1 {
		noun = "fault"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d %s", len(e.Faults), noun)
	for _, f := range e.Faults {
		b.WriteString("\n  ")
		b.WriteString(f.String())
	}
	return b.String()
}
