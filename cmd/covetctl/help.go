package main

import (
	"context"
	"io"
	"strings"
	"unicode/utf8"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"
)

// help draws a command's help. Only then is fang asked: it queries the terminal for its background, which must not hold up
// a command or an error.
func (a *app) help(ctx context.Context) error {
	root := a.root()
	layProse(root, min(a.columns(a.out), 120)-4)
	if !a.style(a.out).Color {
		root.SetOut(struct{ io.Writer }{a.out}) // fang colours what it takes for a terminal
	}
	return fang.Execute(ctx, root, fang.WithoutCompletions(), fang.WithoutManpage(), fang.WithoutVersion(),
		fang.WithColorSchemeFunc(fang.AnsiColorScheme))
}

// layProse makes the long help of a command and of those under it fit a terminal. Fang's own lines would break inside of flags,
// and in the middle of those that the text has.
func layProse(c *cobra.Command, width int) {
	c.Long = prose(c.Long, width)
	for _, sub := range c.Commands() {
		layProse(sub, width)
	}
}

// prose fills the lines of each paragraph up to a width. Lines that begin with a space stay as they are.
func prose(text string, width int) string {
	var out []string
	open := false // whether the last line goes on
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == ' ' {
			out, open = append(out, line), false
			continue
		}
		for word := range strings.FieldsSeq(line) {
			last := len(out) - 1
			if open && utf8.RuneCountInString(out[last])+1+utf8.RuneCountInString(word) <= width {
				out[last] += " " + word
			} else {
				out, open = append(out, word), true
			}
		}
	}
	return strings.Join(out, "\n")
}
