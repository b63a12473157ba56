package backupcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/backupcmd"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// programName makes a copy of the test binary be covetctl, whoever starts it: PostgreSQL does, with an environment of its
// own.
const programName = "covetctl"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == programName {
		root := &cobra.Command{Use: "covetctl", SilenceUsage: true, SilenceErrors: true}
		from, err := backupcmd.Adopt(os.Args[1:], os.Getenv, os.Setenv)
		root.AddCommand(backupcmd.Commands(backupcmd.Host{Sources: from})...)
		if err == nil {
			err = root.ExecuteContext(context.Background())
		}
		if err == nil {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		var e backupcmd.ExitError
		if errors.As(err, &e) {
			os.Exit(e.ExitCode())
		}
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// bench is a repository and the program to use it with.
type bench struct {
	t    *testing.T
	bin  string
	env  []string
	repo string
	// pgBin is the folder of PostgreSQL's binaries; empty: the newest installed version's.
	pgBin string
}

// newBench makes an empty repository: "file" or "s3".
func newBench(t *testing.T, kind string) *bench {
	t.Helper()
	dir := pgtest.Dir(t)
	b := &bench{t: t, bin: filepath.Join(dir, programName), repo: "file://" + dir + "/repo"}
	copyProgram(t, b.bin)
	b.env = append(os.Environ(), "COVET_SERVICE=orders", "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey)
	if kind == "s3" {
		srv := s3test.Start(t)
		b.repo = "s3://" + srv.Bucket(t) + "/prod"
		b.env = append(b.env, "COVET_S3_ENDPOINT="+srv.Endpoint, "S3_REGION=us-east-1")
	}
	b.env = append(b.env, "COVET_REPO="+b.repo)
	return b
}

// copyProgram puts the covetctl of the folder COVET_BIN, or else this test binary, where the unprivileged user can run it. A
// process a segment is many, and with the race detector each takes seconds.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	from, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if bin := os.Getenv("COVET_BIN"); bin != "" {
		from = filepath.Join(bin, "covetctl")
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, in.Close(), out.Close(), os.Chmod(to, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// command prepares a call of covetctl.
func (b *bench) command(args ...string) *exec.Cmd {
	cmd := pgtest.Command(b.t, b.bin, args...)
	cmd.Env = b.env
	return cmd
}

// try runs covetctl and returns its output and exit code.
func (b *bench) try(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	var out, errs bytes.Buffer
	cmd := b.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// typing runs covetctl at a terminal, where something is typed.
func (b *bench) typing(line string, args ...string) (shown string, code int) {
	b.t.Helper()
	cmd := pgtest.Command(b.t, "script", "-qec", b.bin+" "+strings.Join(args, " "), "/dev/null")
	cmd.Env, cmd.Stdin = b.env, strings.NewReader(line+"\n")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// run runs covetctl, which must succeed.
func (b *bench) run(args ...string) string {
	b.t.Helper()
	out, errs, code := b.try(args...)
	if code != 0 {
		b.t.Fatalf("covetctl %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// runJSON runs covetctl with -o json into v.
func (b *bench) runJSON(v any, args ...string) {
	b.t.Helper()
	out := b.run(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		b.t.Fatalf("covetctl %s: %v in\n%s", strings.Join(args, " "), err, out)
	}
}

// server starts a PostgreSQL that archives into the repository.
func (b *bench) server(settings map[string]string) *pgtest.Cluster {
	b.t.Helper()
	conf := map[string]string{"archive_mode": "on", "archive_command": b.bin + " wal push %p"}
	for k, v := range settings {
		conf[k] = v
	}
	return pgtest.Start(b.t, pgtest.Options{Settings: conf, Env: b.env, Bin: b.pgBin})
}

// flushWAL makes the server archive all that it has logged, and waits until it has.
func (b *bench) flushWAL(pg *pgtest.Cluster) {
	b.t.Helper()
	last := pg.One("SELECT pg_walfile_name(pg_switch_wal())")
	pgtest.Within(b.t, 3*time.Minute, "WAL segment "+last+" is archived", func() bool { // after failures the archiver rests for a minute
		return pg.One("SELECT last_archived_wal FROM pg_stat_archiver") >= last
	})
}

// times is how often a test does what it does: a few times in every run, as often as the variable says in a long one.
func times(t *testing.T, variable string, usually int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usually
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
