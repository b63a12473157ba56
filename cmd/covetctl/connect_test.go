package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/covetpy/covet/internal/adminclient"
	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/ops/console"
)

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "covetctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDefaultSockets(t *testing.T) {
	t.Parallel()
	env := map[string]string{"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/ada"}
	got := DefaultSockets(func(k string) string { return env[k] })
	if want := []string{"/run/user/7/covet/covetd.sock", "/run/covet/covetd.sock", ".covet/covetd.sock", "/home/ada/.local/state/covet/covetd.sock", "/var/lib/covet/covetd.sock"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// reaching is covetctl with an environment of the test's, which notes whom it reached.
type reaching struct {
	env     map[string]string
	offline error // what opening the journal fails with
	reached []string
}

func (r *reaching) run(t *testing.T, args ...string) session {
	t.Helper()
	var out, errOut bytes.Buffer
	a := newTestApp(answering(), &out, &errOut, args...)
	a.env = func(k string) string { return r.env[k] }
	a.parts.online = func(socket string) console.Port {
		r.reached = append(r.reached, socket)
		if _, err := os.Stat(socket); err != nil || strings.HasSuffix(socket, "dead.sock") {
			return adminclient.New(socket)
		}
		return answering()
	}
	a.parts.place = place
	a.parts.offline = func(_ context.Context, dir string) (console.Port, error) {
		r.reached = append(r.reached, dir)
		return answering(), r.offline
	}
	return session{a.run(t.Context()), out.String(), errOut.String()}
}

func listen(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhichSocket(t *testing.T) {
	dir := shortDir(t)
	t.Chdir(dir)
	run, here, named := filepath.Join(dir, "run", "covet", "covetd.sock"), ".covet/covetd.sock", filepath.Join(dir, "n.sock")
	listen(t, here)
	listen(t, named)
	env := map[string]string{"XDG_RUNTIME_DIR": filepath.Join(dir, "run")}
	reach := func(want string, args ...string) {
		t.Helper()
		r := &reaching{env: env}
		if got := r.run(t, append([]string{"rollout", "pause"}, args...)...); got.code != 0 || !reflect.DeepEqual(r.reached, []string{want}) {
			t.Errorf("reached %v, want %s: %+v", r.reached, want, got)
		}
	}
	if _, err := os.Stat("/run/covet/covetd.sock"); errors.Is(err, os.ErrNotExist) {
		reach(here)
	}
	listen(t, run)
	reach(run)
	env["COVET_DATA_DIR"] = filepath.Join(dir, ".covet")
	reach(filepath.Join(dir, ".covet", "covetd.sock"))
	if err := local.WritePlace(filepath.Join(dir, ".covet"), local.Place{Socket: named}); err != nil {
		t.Fatal(err)
	}
	reach(named)
	env["COVET_SOCKET"] = named
	reach(named)
	env["COVET_SOCKET"] = run
	reach(named, "--socket", named)
}

func TestWithoutCovetd(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "dead.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{dead, filepath.Join(dir, "none.sock")} {
		env := map[string]string{"COVET_SOCKET": socket, "COVET_DATA_DIR": data}
		for _, args := range []string{"status", "release list", "release show v1.1.0", "rollout history", "rollout status", "audit", "incident list", "incident show", "rollback --plan", "logs", "covetctl"} {
			r := &reaching{env: env}
			got := r.run(t, strings.Fields(strings.TrimPrefix(args, "covetctl"))...)
			if got.code != 0 || !reflect.DeepEqual(r.reached, []string{data}) || !strings.Contains(got.err, "using its journal in "+data) {
				t.Errorf("%s: %+v, reached %v", args, got, r.reached)
			}
		}
		for _, args := range []string{"rollout start v1.1.0", "rollout pause", "attach", "rollout watch", "incident ack", "release remove v1 --yes"} {
			r := &reaching{env: env}
			if got := r.run(t, strings.Fields(args)...); got.code != 6 || !reflect.DeepEqual(r.reached, []string{socket}) || !strings.Contains(got.err, "covetd is not running") {
				t.Errorf("%s: %+v, reached %v", args, got, r.reached)
			}
		}
	}
	r := &reaching{env: map[string]string{"COVET_DATA_DIR": data}}
	if got := r.run(t, "rollback", "--socket", dead); got.code != 6 || !reflect.DeepEqual(r.reached, []string{dead}) {
		t.Errorf("a rollback meant for one service reached another: %+v, reached %v", got, r.reached)
	}
	r = &reaching{env: map[string]string{"COVET_SOCKET": dead}, offline: errors.New("it is locked")}
	if got := r.run(t, "status", "--data-dir", data); got.code != 6 || !strings.Contains(got.err, "its journal in "+data+" cannot be opened: it is locked") {
		t.Errorf("%+v", got)
	}
	r = &reaching{env: map[string]string{"COVET_SOCKET": dead}, offline: &console.Error{Code: console.CodeLocked, Message: "held by covetd"}}
	if got := r.run(t, "rollback", "--data-dir", data); got.code != 7 {
		t.Errorf("%+v", got)
	}
}

// TestAliveCovetdIsNeverBypassed holds that the journal of a covetd that may be alive is left alone, even if it is mute.
func TestAliveCovetdIsNeverBypassed(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	socket := filepath.Join(dir, "mute.sock")
	listen(t, socket) // connects, never answers
	r := &reaching{env: map[string]string{"COVET_SOCKET": socket, "COVET_DATA_DIR": dir}}
	if r.run(t, "status"); !reflect.DeepEqual(r.reached, []string{socket}) {
		t.Errorf("reached %v", r.reached)
	}
	var out, errOut bytes.Buffer
	a := newTestApp(nil, &out, &errOut, "status", "--timeout", "50ms", "--socket", socket)
	a.parts.online = wired().online
	if code := a.run(t.Context()); code != 6 || !strings.Contains(errOut.String(), "did not answer in time") {
		t.Errorf("exit %d, %s", code, errOut.String())
	}
}

func TestOfflineRollbackIsNotWatched(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	var out, errOut bytes.Buffer
	port := following()
	a := newTestApp(nil, &out, &errOut, "rollback", "--socket", filepath.Join(dir, "none.sock"), "--data-dir", dir)
	a.parts.offline = func(context.Context, string) (console.Port, error) { return port, nil }
	if code := a.run(t.Context()); code != 0 || port.after != nil || !strings.Contains(out.String(), "r-3 goes back") {
		t.Errorf("exit %d, %s%s, watched %v", code, out.String(), errOut.String(), port.after)
	}
}

func TestTUIOpensForAPersonOnly(t *testing.T) {
	t.Parallel()
	try := func(terminal bool, args ...string) (opened *tuiOptions, out string) {
		var o, e bytes.Buffer
		a := newTestApp(answering(), &o, &e, args...)
		a.terminal = func(io.Writer) bool { return terminal }
		a.parts.tui = func(_ context.Context, port console.Port, opts tuiOptions) error {
			opened = &opts
			return nil
		}
		if code := a.run(t.Context()); code != 0 {
			t.Errorf("exit %d: %s", code, e.String())
		}
		return opened, o.String()
	}
	if got, _ := try(true, "--ascii"); got == nil || got.Recovery == nil || got.Socket != "/run/covet/covetd.sock" || !got.ASCII || got.Accessible || got.Theme != "" {
		t.Errorf("at a terminal: %+v", got)
	}
	if got, out := try(false); got != nil || !strings.Contains(out, "shop · production") {
		t.Errorf("into a pipe: %+v, %s", got, out)
	}
	if got, out := try(true, "-o", "json"); got != nil || !strings.HasPrefix(out, "{") {
		t.Errorf("for a program: %+v, %s", got, out)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	socket := filepath.Join(dir, "s.sock")
	listen(t, socket)
	if err := os.Chmod(socket, 0o660); err != nil {
		t.Fatal(err)
	}
	got := ctl(t, answering(), "config", "check", "--socket", socket, "--data-dir", dir)
	want := []string{socket + " (Srw-rw----)", "pid 42 answers for shop", "are both v1.2.3", dir + " (1 entries)"}
	for _, w := range want {
		if !strings.Contains(got.out, w) {
			t.Errorf("%s does not say %q", got.out, w)
		}
	}
	if got.code != 0 || strings.Contains(got.out, "▲") || strings.Contains(got.out, "✗") {
		t.Errorf("%+v", got)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	old := answering()
	st := busy()
	st.Version = "v1.0.0"
	old.ask[console.GetStatus] = st
	got = ctl(t, old, "config", "check", "--socket", socket, "--data-dir", filepath.Join(dir, "none"))
	for _, w := range []string{"every user of this machine may use it", "covetctl is v1.2.3, covetd is v1.0.0", "no such file"} {
		if !strings.Contains(got.out, w) || got.code != 0 {
			t.Errorf("%+v does not say %q", got, w)
		}
	}
	port := answering()
	port.ask[console.GetStatus] = &console.Error{Code: console.CodeUnreachable, Message: "it is mute", Hint: "shout"}
	got = ctl(t, port, "config", "check", "--socket", filepath.Join(dir, "none"), "-o", "json")
	if got.code != 6 || !strings.Contains(got.out, `"detail": "it is mute"`) || !strings.Contains(got.err, "it is mute") {
		t.Errorf("%+v", got)
	}
}
