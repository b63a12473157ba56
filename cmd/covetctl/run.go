package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/ops/console"
)

// run is covetctl: it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	a := newApp(args, stdin, stdout, stderr, env, wired())
	sources, err := backupcmd.Adopt(args, env, os.Setenv)
	a.sources = sources
	if err != nil && len(args) > 0 && slices.Contains([]string{"backup", "wal", "restore"}, args[0]) { // a rollback needs none of it
		if a.tell(err) != nil {
			return 1
		}
		return exitCode(err)
	}
	return a.run(ctx)
}

func (a *app) run(ctx context.Context) int {
	help := false
	root := a.root()
	root.SetHelpFunc(func(*cobra.Command, []string) { help = true })
	err := root.ExecuteContext(ctx)
	if cerr := a.leaveCluster(); err == nil {
		err = cerr
	}
	if err == nil && help {
		err = a.help(ctx)
	}
	switch {
	case err == nil:
		return 0
	case !a.begun:
		err = asUsage(err)
	case ctx.Err() != nil:
		err = asInterrupted(err)
	}
	if a.tell(err) != nil {
		return 1 // nobody can be told
	}
	return exitCode(err)
}

// interrupted is the error of a command that the caller broke off.
type interrupted struct{ message, hint string }

func (i *interrupted) Error() string { return i.message }

// interruptedExit is what a shell reports of a program that Ctrl-C ended.
const interruptedExit = 130

// asInterrupted makes whatever a command came back with after a signal what it is: the caller's own doing.
func asInterrupted(err error) error {
	var i *interrupted
	if errors.As(err, &i) {
		return err
	}
	return &interrupted{message: "interrupted"}
}

// asUsage makes the errors of parsing what they are.
func asUsage(err error) error {
	var e *console.Error
	if errors.As(err, &e) {
		return err
	}
	text := parserNoise.ReplaceAllString(err.Error(), ": that is not a whole number")
	return usage("%s", text)
}

// parserNoise is what Go's parsers say of numbers: right, and of no use to whoever typed one.
var parserNoise = regexp.MustCompile(`: strconv\.\w+: parsing .*$`)

func usage(format string, args ...any) *console.Error {
	return &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf(format, args...), Hint: "covetctl --help lists the commands, COMMAND --help has examples"}
}

func exitCode(err error) int {
	var e interface{ ExitCode() int }
	var i *interrupted
	switch {
	case errors.As(err, &e):
		return e.ExitCode()
	case errors.As(err, &i):
		return interruptedExit
	}
	return 1
}
