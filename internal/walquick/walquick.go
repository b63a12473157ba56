// Package walquick answers what costs next to nothing before covetctl has started: `wal push` of a file that is archived
// already, or that an agent archives; `wal fetch` of a segment that was fetched ahead.
//
// PostgreSQL starts a process for each segment, and the start of this program takes longer than any of these. Most of it is the
// initialisation of what other commands need: the console, the client of Kubernetes, that of S3. Go initialises
// packages in the order of their import paths, each behind those that it imports. So this package imports as little as it
// can, does its work in init, and ends the process where that was all; where it wasn't, it has changed nothing and the
// command runs as any other. What it knows without parsing flags is the Invocation.
package walquick

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/backup/walside"
)

// command is a command line that may be answered here: `covetctl wal push PATH …` or `covetctl wal fetch NAME PATH …`.
type command struct {
	invocation string
	system     string   // identifier of the cluster
	names      []string // PATH; NAME and PATH
	flags      []string
}

// invocation is that of this process; empty where it is none of those commands.
var invocation string

// Invocation stands for the command line, but for the names of files, and the environment that this process was started
// with. Two processes that have it in common have all settings in common. It is empty for another command, and where more than
// that decides.
func Invocation() string { return invocation }

func init() {
	c, ok := parse(os.Args, os.Environ())
	if !ok {
		return
	}
	invocation = c.invocation
	code, done := 0, false
	if os.Args[2] == "push" {
		code, done = c.push()
	} else {
		done = c.fetch()
	}
	if done {
		os.Exit(code)
	}
}

// parse takes the names that come first, and leaves the flags as they are.
func parse(args, environ []string) (c command, ok bool) {
	names := map[string]int{"push": 1, "fetch": 2}
	if len(args) < 4 || args[1] != "wal" || len(args) < 3+names[args[2]] || names[args[2]] == 0 {
		return c, false
	}
	c.names, c.flags = args[3:3+names[args[2]]], args[3+names[args[2]]:]
	for _, n := range c.names {
		if n == "" || n[0] == '-' {
			return c, false
		}
	}
	for _, f := range c.flags {
		if strings.HasPrefix(f, "--config") || strings.HasPrefix(f, "--system") || f == "-h" || f == "--help" {
			return c, false
		}
	}
	return c, c.identify(environ)
}

// identify makes the invocation of the flags, the environment, the folder and the cluster in it.
func (c *command) identify(environ []string) bool {
	dir, err := os.Getwd()
	if err != nil {
		return false
	}
	if c.system, err = walside.System("."); err != nil {
		return false
	}
	parts := append([]string{dir, c.system}, c.flags...)
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !decides(name) {
			continue
		}
		if name == "COVET_CONFIG" {
			value += stamp(value)
		}
		parts = append(parts, name+"="+value)
	}
	c.invocation = strings.Join(parts, "\n")
	return true
}

// decides says whether a variable is one of the settings. Secrets aren't: with others the same is done.
func decides(name string) bool {
	switch name {
	case "COVET_AGE_IDENTITY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN":
		return false
	case "SERVICE":
		return true
	}
	return strings.HasPrefix(name, "COVET_") || strings.HasPrefix(name, "S3_") || strings.HasPrefix(name, "AWS_")
}

// stamp tells versions of a file apart.
func stamp(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return " " + err.Error()
	}
	return " " + strconv.FormatInt(st.Size(), 10) + " " + strconv.FormatInt(st.ModTime().UnixNano(), 10)
}

// fetch takes a segment that lies ready, and says whether that was all: somebody fetches the next ones already.
func (c *command) fetch() bool {
	name, path := c.names[0], c.names[1]
	if len(name) != 24 || !walside.InRecovery(".") {
		return false
	}
	p, ok := walside.PrefetchedIn(filepath.Dir(path), c.invocation)
	return ok && p.Busy() && p.Take(context.Background(), name, path)
}
