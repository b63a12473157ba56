package walquick

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/covetpy/covet/internal/walagent/ask"
	"github.com/covetpy/covet/ops/backup/walside"
)

// push says whether this was all: the file is durable, by a receipt or because an agent made it so, or an agent failed to.
func (c *command) push() (code int, done bool) {
	path := c.names[0]
	st, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	name := filepath.Base(path)
	r := walside.Receipts{WALDir: filepath.Dir(path), For: c.invocation}
	if r.Has(name, walside.PrintOf(st)) {
		return 0, r.Take(name) == nil
	}
	return c.askAgent(path)
}

// askAgent lets an agent that knows the invocation archive the file.
func (c *command) askAgent(path string) (code int, done bool) {
	socket := c.socket()
	full, err := filepath.Abs(path)
	if socket == "" || err != nil {
		return 0, false
	}
	reply, err := ask.Push(context.Background(), socket, ask.Request{Path: full, System: c.system, Invocation: c.invocation})
	if err != nil || reply.Declined {
		return 0, false
	}
	if reply.Error != "" {
		_, _ = os.Stderr.WriteString("✗ " + reply.Error + "\n") // the exit code tells it too
		return max(reply.Code, 1), true
	}
	return 0, true
}

// socket is the agent's, as the flag --agent or the environment says.
func (c *command) socket() string {
	for i, f := range c.flags {
		if v, ok := strings.CutPrefix(f, "--agent="); ok {
			return v
		}
		if f == "--agent" && i+1 < len(c.flags) {
			return c.flags[i+1]
		}
	}
	if v := os.Getenv("COVET_WAL_AGENT"); v != "" {
		return v
	}
	return ask.DefaultSocket
}
