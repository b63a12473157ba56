// Package ask asks the agent of package walagent, over a unix socket: a question and an answer per connection, each a line
// of JSON. It imports little: PostgreSQL starts a process for each segment, and where the agent does the work, nearly all
// that such a process costs is its own start.
package ask

import "time"

// DefaultSocket is where the agent listens unless it is told otherwise.
const DefaultSocket = "/run/covet/wal.sock"

// Request asks to archive one file.
type Request struct {
	// Path is absolute.
	Path string `json:"path"`
	// System is the identifier of the database cluster that the file belongs to.
	System string `json:"system"`
	// Settings are those by which the asker would write to the repository itself: an agent with others refuses. Empty where
	// the asker hasn't found out.
	Settings string `json:"settings,omitempty"`
	// Invocation stands for the command line and environment of the asker. An agent that has agreed to the settings of one
	// knows the next of its kind by it.
	Invocation string `json:"invocation,omitempty"`
}

// Reply is what became of it. Error is empty when the file is durable.
type Reply struct {
	// Working says that there is no answer yet: it is sent every second, so that a dead agent is told from a slow one.
	Working bool   `json:"working,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Error   string `json:"error,omitempty"`
	// Code is the exit code that the error means.
	Code int `json:"code,omitempty"`
	// Declined says that the agent didn't try: it has other settings, or may not read the file.
	Declined bool `json:"declined,omitempty"`
}

const (
	// Heartbeat is how often an agent at work says so.
	Heartbeat = time.Second
	// Patience is how long either waits without a sign of life.
	Patience = 10 * time.Second
	// MaxLine bounds a question or an answer, in bytes.
	MaxLine = 64 << 10
)
