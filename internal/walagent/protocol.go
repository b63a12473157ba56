// Package walagent lets one long-lived process archive for the many short ones that PostgreSQL starts: it speaks over a
// unix socket, a question and an answer per connection, each a line of JSON.
package walagent

import "time"

// Request asks to archive one file.
type Request struct {
	// Path is absolute.
	Path string `json:"path"`
	// System is the identifier of the database cluster that the file belongs to.
	System string `json:"system"`
	// Settings are those by which the asker would write to the repository itself: an agent with others refuses.
	Settings string `json:"settings"`
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
	heartbeat = time.Second
	patience  = 10 * time.Second // without a sign of life
	maxLine   = 64 << 10
)
