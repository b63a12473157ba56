package render

import (
	"os"

	"github.com/charmbracelet/x/term"
)

// IsTerminal says whether v, a program's input or output, is a person's terminal.
func IsTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}
