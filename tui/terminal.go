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

// watchedFile keeps what makes a terminal one: its descriptor.
type watchedFile struct {
	term.File
	gone context.CancelCauseFunc
}

func (f watchedFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err != nil && n == 0 {
		f.gone(errTerminalGone)
	}
	return n, err
}

func (f watchedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err != nil {
		f.gone(errTerminalGone)
	}
	return n, err
}

func watchedInput(in io.Reader, gone context.CancelCauseFunc) io.Reader {
	if f, ok := in.(term.File); ok {
		return watchedFile{f, gone}
	}
	return watchedReader{in, gone}
}

func watchedOutput(out io.Writer, gone context.CancelCauseFunc) io.Writer {
	if f, ok := out.(term.File); ok {
		return watchedFile{f, gone}
	}
	return out
}
