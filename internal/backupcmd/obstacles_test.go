package backupcmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	disktest "github.com/covetpy/covet/test/disk"
	pgtest "github.com/covetpy/covet/test/pg"
)

// What a restore would fail on is in its plan, and refused before anything is touched.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 100000) n")
	b.run("backup", "run", "--database-url", pg.DSN(), "--wait-wal", "0s")
	o := &obstacles{bench: b, pg: pg}
	t.Run("nothing", o.nothing)
	t.Run("a path that pg_ctl cannot take", func(t *testing.T) {
		for _, name := range []string{"a$HOME", `q"q`, `b\b`, "c`c"} {
			stands(t, o.try, filepath.Join(pgtest.Dir(t), name), []string{"--start", "--archive", "off", "--pg-options", "-c listen_addresses="}, "pg_ctl cannot")
		}
	})
	t.Run("the port is taken", o.port)
	t.Run("another version's binaries", o.version)
	t.Run("a full disk", o.space)
	t.Run("another user's directory", o.owner)
	t.Run("run by root", o.root)
}

type obstacles struct {
	*bench
	pg *pgtest.Cluster
}

// asRoot runs covetctl as whoever runs the test, and not as the user of PostgreSQL.
func (o *obstacles) asRoot(env []string, args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(o.bin, args...)
	cmd.Env = append(slices.Clone(o.env), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		o.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// stands checks that a restore is refused for something, and that the plan says so.
func stands(t *testing.T, run func(args ...string) (string, string, int), dir string, args []string, words ...string) {
	t.Helper()
	args = append([]string{"restore", "--to", dir, "--immediate"}, args...)
	plan, errs, code := run(append(args, "--plan")...)
	if code != 0 || !strings.Contains(plan, "IN THE WAY") || !holdsAll(plan, words) {
		t.Errorf("the plan: exit %d, %s%s; want %v", code, plan, errs, words)
	}
	_, errs, code = run(args...)
	if code != 5 || !strings.Contains(errs, "nothing was touched") || !holdsAll(errs, words) {
		t.Errorf("the restore: exit %d, %s; want %v", code, errs, words)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		t.Errorf("%s holds %v", dir, entries)
	}
	if _, err := os.Stat(dir + ".covet-restore.json"); err == nil {
		t.Error("a record was made of what was refused")
	}
}

func holdsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

func (o *obstacles) nothing(t *testing.T) {
	dir := dataDir(t)
	if out, errs, code := o.try("restore", "--to", dir, "--immediate", "--plan"); code != 0 || strings.Contains(out, "IN THE WAY") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	absent(t, dir)
}

func (o *obstacles) port(t *testing.T) {
	stands(t, o.try, dataDir(t), []string{"--start", "--pg-options", fmt.Sprintf("-p %d", o.pg.Port)}, fmt.Sprintf("port %d", o.pg.Port), "another server listens")
}

func (o *obstacles) version(t *testing.T) {
	bin := pgtest.Dir(t)
	if err := os.WriteFile(filepath.Join(bin, "postgres"), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 12.4'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	stands(t, o.try, dataDir(t), []string{"--start", "--pg-options", "-p 1", "--pg-bin", bin}, "PostgreSQL) 12.4", "--pg-bin")
	stands(t, o.try, dataDir(t), []string{"--start", "--pg-options", "-p 1", "--pg-bin", "/nowhere"}, "cannot be run")
}

func (o *obstacles) space(t *testing.T) {
	small := disktest.Small(t, "8m")
	stands(t, o.try, filepath.Join(small, "data"), nil, "disk space", "is free", "restore elsewhere")
}

func (o *obstacles) owner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make another user's directory")
	}
	dir := filepath.Join(pgtest.Dir(t), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	stands(t, o.try, dir, nil, "belongs to another user", "chown")
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	stands(t, func(args ...string) (string, string, int) { return o.asRoot(nil, args...) }, filepath.Join(closed, "data"), nil, "does not get through")
}

// root may read everything: what its PostgreSQL may not shows only when it fetches the log.
func (o *obstacles) root(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("run by root only")
	}
	secret := filepath.Join(pgtest.Dir(t), "secret")
	if err := os.WriteFile(secret, []byte(identity), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(env ...string) func(args ...string) (string, string, int) {
		return func(args ...string) (string, string, int) { return o.asRoot(env, args...) }
	}
	stands(t, with("COVET_AGE_IDENTITY_FILE="+secret), dataDir(t), nil, "age identity", secret, "user postgres may not use")
	stands(t, with("COVET_AGE_RECIPIENTS_FILE="+secretRecipients(t)), dataDir(t), nil, "age recipients")
	repo := strings.TrimPrefix(o.repo, "file://")
	if err := os.Chown(repo, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	stands(t, with(), dataDir(t), nil, "repository "+repo, "could not fetch its log")
	pgtest.Own(t, repo)
	// What nothing hinders goes through, and the server that root has started reads what it needs.
	dir := dataDir(t)
	if out, errs, code := o.asRoot(nil, "restore", "--to", dir, "--immediate", "--archive", "off", "--start", "--pg-options", "-c listen_addresses= -k "+filepath.Dir(dir)); code != 0 {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	pgtest.At(t, dir).Stop("immediate")
}

// identity is an age identity that nothing is encrypted for.
const identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n"

func secretRecipients(t *testing.T) string {
	t.Helper()
	path := filepath.Join(pgtest.Dir(t), "recipients")
	if err := os.WriteFile(path, []byte("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
