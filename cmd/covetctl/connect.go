package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
)

// DefaultSockets are the places where covetd's socket is looked for, in order, when nobody says where it is.
func DefaultSockets(env func(string) string) []string {
	var out []string
	if dir := env("XDG_RUNTIME_DIR"); dir != "" {
		out = append(out, filepath.Join(dir, "covet", "covetd.sock"))
	}
	out = append(out, "/run/covet/covetd.sock")
	for _, dir := range DefaultDataDirs(env) {
		out = append(out, filepath.Join(dir, "covetd.sock"))
	}
	return out
}

// DefaultDataDirs are the places where covetd's data is looked for likewise.
func DefaultDataDirs(env func(string) string) []string {
	out := []string{"./.covet"}
	if dir := env("XDG_STATE_HOME"); dir != "" {
		out = append(out, filepath.Join(dir, "covet"))
	} else if home := env("HOME"); home != "" {
		out = append(out, filepath.Join(home, ".local", "state", "covet"))
	}
	return append(out, "/var/lib/covet")
}

// socket is the one to dial, and whether somebody named it or it is there.
func (a *app) socket() (path string, known bool) {
	if named := cmp.Or(a.flags.socket, a.env("COVET_SOCKET")); named != "" {
		return named, true
	}
	if dir := a.namedDataDir(); dir != "" {
		return a.parts.place(dir), true
	}
	places := DefaultSockets(a.env)
	for _, p := range places {
		if _, err := os.Stat(p); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return p, true
		}
	}
	return places[0], false
}

func (a *app) namedDataDir() string { return cmp.Or(a.flags.dataDir, a.env("COVET_DATA_DIR")) }

// dataDir is where covetd's data is, or empty.
func (a *app) dataDir() string {
	if named := a.namedDataDir(); named != "" {
		return named
	}
	for _, p := range DefaultDataDirs(a.env) {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			return p
		}
	}
	return ""
}

// connect reaches covetd.
func (a *app) connect(ctx context.Context) (console.Port, error) {
	if t, ok, err := a.target(); ok || err != nil {
		return a.onCluster(ctx, t, err)
	}
	socket, known := a.socket()
	if !known {
		return nil, &console.Error{
			Code:    console.CodeUnreachable,
			Message: "covetd is not running: there is no socket at " + strings.Join(DefaultSockets(a.env), ", "),
			Hint:    "start it with `covetd`, or name the socket of the one that runs with --socket or COVET_SOCKET",
		}
	}
	return a.parts.online(socket), nil
}

// connectAnyhow reaches covetd or, where it does not run, its journal: what must work in an emergency goes through here.
func (a *app) connectAnyhow(ctx context.Context) (port console.Port, offline bool, err error) {
	port, offline, err = a.reach(ctx)
	if err != nil || !offline {
		return port, offline, err
	}
	socket, _ := a.socket()
	return port, true, a.note(render.Warn, "covetd is not running (nobody listens on %s): using its journal in %s", socket, a.dataDir())
}

// reach is connectAnyhow without a word.
func (a *app) reach(ctx context.Context) (port console.Port, offline bool, err error) {
	if t, ok, err := a.target(); ok || err != nil {
		port, err := a.onCluster(ctx, t, err)
		return port, false, err
	}
	socket, _ := a.socket()
	dir := a.dataDir()
	if a.parts.offline == nil || dir == "" || a.elsewhere(dir) || !nobodyListens(ctx, socket) {
		port, err = a.connect(ctx)
		return port, false, err
	}
	port, err = a.parts.offline(ctx, dir)
	if err != nil {
		return nil, true, a.unopened(dir, socket, err)
	}
	return port, true, nil
}

// elsewhere reports whether a socket was named on the command line, and the data directory that the environment knows is not
// that covetd's: the journal of one service must not take what was meant for another.
func (a *app) elsewhere(dir string) bool {
	if a.flags.socket == "" || a.flags.dataDir != "" {
		return false
	}
	named, err := filepath.Abs(a.flags.socket)
	if err != nil {
		return true
	}
	own, err := filepath.Abs(a.parts.place(dir))
	return err != nil || own != named
}

func (a *app) unopened(dir, socket string, err error) error {
	var e *console.Error
	if errors.As(err, &e) {
		return err
	}
	return &console.Error{
		Code:    console.CodeUnreachable,
		Message: fmt.Sprintf("covetd is not running (nobody listens on %s), and its journal in %s cannot be opened: %v", socket, dir, err),
		Hint:    "start covetd, or name its data directory with --data-dir; reading it may need covetd's own user",
	}
}

// nobodyListens reports whether it is sure that no covetd runs behind the socket. One that does not answer may be alive.
func nobodyListens(ctx context.Context, socket string) bool {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "unix", socket)
	if err == nil {
		_ = conn.Close() // nothing was sent over it
		return false
	}
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
