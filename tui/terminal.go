package tui

import (
	"context"
	"io"

	"github.com/charmbracelet/x/term"
)

// A terminal that goes away must end the console. Bubble Tea stops reading at the end of its input but runs on, and
// ignores errors of writing; so both sides are watched.

type watchedReader struct {
	io.Reader
	gone context.CancelCauseFunc
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && n == 0 {
		r.gone(errTerminalGone)
	}
	return n, err
}

// terminal is what Bubble Tea needs of a file to take it for a terminal, and to stop reading from it.
type terminal interface {
	term.File
	Name() string
}

// watchedFile keeps what makes a terminal one.
type watchedFile struct {
	terminal
	gone context.CancelCauseFunc
}

func (f watchedFile) Read(p []byte) (int, error) {
	n, err := f.terminal.Read(p)
	if err != nil && n == 0 {
		f.gone(errTerminalGone)
	}
	return n, err
}

func (f watchedFile) Write(p []byte) (int, error) {
	n, err := f.terminal.Write(p)
	if err != nil {
		f.gone(errTerminalGone)
	}
	return n, err
}

func watchedInput(in io.Reader, gone context.CancelCauseFunc) io.Reader {
	if f, ok := in.(terminal); ok {
		return watchedFile{f, gone}
	}
	return watchedReader{in, gone}
}

func watchedOutput(out io.Writer, gone context.CancelCauseFunc) io.Writer {
	if f, ok := out.(terminal); ok {
		return watchedFile{f, gone}
	}
	return out
}
