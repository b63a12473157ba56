package walquick

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/covetpy/covet/ops/backup/walside"
)

// inServer makes the present folder a data directory with one segment.
func inServer(t *testing.T) (segment string) {
	t.Helper()
	t.Chdir(t.TempDir())
	segment = filepath.Join("pg_wal", "000000010000000000000005")
	for path, text := range map[string]string{filepath.Join("global", "pg_control"): "\x01\x02\x03\x04\x05\x06\x07\x08 and more", segment: "log"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return segment
}

func invocationOf(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	c, ok := parse(append([]string{"covetctl", "wal"}, args...), environ)
	if !ok {
		t.Fatalf("%q isn't understood", args)
	}
	return c.invocation
}

func TestInvocation(t *testing.T) {
	inServer(t)
	env := []string{"COVET_REPO=file:///r", "AWS_SECRET_ACCESS_KEY=a", "PATH=/bin"}
	one := invocationOf(t, env, "push", "pg_wal/1", "--spool", "/s")
	for what, other := range map[string]string{
		"another file":        invocationOf(t, env, "push", "pg_wal/2", "--spool", "/s"),
		"another secret":      invocationOf(t, []string{env[0], "AWS_SECRET_ACCESS_KEY=b"}, "push", "pg_wal/1", "--spool", "/s"),
		"another environment": invocationOf(t, append(env, "LANG=C"), "push", "pg_wal/1", "--spool", "/s"),
	} {
		if other != one {
			t.Errorf("with %s it is another: %q", what, other)
		}
	}
	for what, other := range map[string]string{
		"another repository": invocationOf(t, []string{"COVET_REPO=file:///q"}, "push", "pg_wal/1", "--spool", "/s"),
		"another flag":       invocationOf(t, env, "push", "pg_wal/1", "--spool", "/t"),
	} {
		if other == one {
			t.Errorf("with %s it is the same", what)
		}
	}
	for _, args := range [][]string{{"push"}, {"push", "--help"}, {"fetch", "x"}, {"push", "x", "--config", "c"}, {"push", "x", "--system", "1"}, {"status", "x"}} {
		if _, ok := parse(append([]string{"covetctl", "wal"}, args...), env); ok {
			t.Errorf("%q is answered before its flags are known", args)
		}
	}
}

func TestPushByReceipt(t *testing.T) {
	segment := inServer(t)
	t.Setenv("COVET_WAL_AGENT", filepath.Join(t.TempDir(), "none"))
	c, ok := parse([]string{"covetctl", "wal", "push", segment}, nil)
	if !ok {
		t.Fatal("not understood")
	}
	if _, done := c.push(); done {
		t.Fatal("what nobody archived is acknowledged")
	}
	st, err := os.Stat(segment)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(segment)
	r := walside.Receipts{WALDir: "pg_wal", For: c.invocation}
	if err := r.Give(name, walside.PrintOf(st)); err != nil {
		t.Fatal(err)
	}
	other := c
	other.invocation += " --repo elsewhere"
	if _, done := other.push(); done {
		t.Error("a receipt of another repository counts")
	}
	if code, done := c.push(); !done || code != 0 {
		t.Errorf("a receipt doesn't count: %d %v", code, done)
	}
	if _, done := c.push(); done {
		t.Error("a receipt counts twice")
	}
	if err := r.Give(name, walside.PrintOf(st)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segment, []byte("other log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, done := c.push(); done {
		t.Error("a receipt counts for a file that has changed")
	}
}
