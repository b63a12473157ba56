package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestProseFillsLinesAndNeverBreaksAWord(t *testing.T) {
	const text = "All of it happens\nor nothing, unless --jobs says\notherwise.\n\nTwo:\n  kept   as it is, however long it may be\nand on"
	for width, want := range map[int]string{
		20:  "All of it happens or\nnothing, unless\n--jobs says\notherwise.\n\nTwo:\n  kept   as it is, however long it may be\nand on",
		100: "All of it happens or nothing, unless --jobs says otherwise.\n\nTwo:\n  kept   as it is, however long it may be\nand on",
		3:   strings.NewReplacer(" ", "\n").Replace("All of it happens or nothing, unless --jobs says otherwise.") + "\n\nTwo:\n  kept   as it is, however long it may be\nand\non",
	} {
		if got := prose(text, width); got != want {
			t.Errorf("at %d:\n%s\nwant\n%s", width, got, want)
		}
	}
}

// TestHelpIsLaidOut looks at every command's help: no line of prose is wider than asked for.
func TestHelpIsLaidOut(t *testing.T) {
	root := newApp(nil, nil, nil, nil, func(string) string { return "" }, wired()).root()
	layProse(root, 60)
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for line := range strings.Lines(c.Long) {
			if n := len([]rune(strings.TrimSpace(line))); n > 60 && line[0] != ' ' {
				t.Errorf("%s has a line of %d: %s", c.CommandPath(), n, line)
			}
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(root)
}
