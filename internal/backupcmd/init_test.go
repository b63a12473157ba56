package backupcmd_test

import (
	"strings"
	"testing"

	pgtest "github.com/covetpy/covet/test/pg"
)

// A server as it comes isn't ready; with --apply and a restart it is, and archives by the command that was set.
func TestInit(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := pgtest.Start(t, pgtest.Options{Env: b.env, Settings: map[string]string{"max_wal_senders": "2", "max_replication_slots": "0"}})
	out, errs, code := b.try("backup", "init", "--database-url", pg.DSN())
	if code != 5 || !strings.Contains(errs, "not ready") {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"set archive_mode = 'on'", "set archive_command", "set max_wal_senders", "set max_replication_slots", "set archive_timeout", "restarted"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q isn't in:\n%s", want, out)
		}
	}
	b.run("backup", "init", "--apply", "--database-url", pg.DSN())
	pg.Stop("fast")
	pg.Run()
	pg.Exec("CREATE TABLE marks (n int)")
	b.flushWAL(pg)
	out = b.run("backup", "init", "--database-url", pg.DSN())
	if strings.Contains(out, "wrong") || strings.Contains(out, "advice") {
		t.Errorf("after --apply:\n%s", out)
	}
	b.run("backup", "run", "--database-url", pg.DSN())
	if out, errs, code := b.try("backup", "init", "--repo", "file:///proc/nowhere", "--database-url", pg.DSN()); code != 5 || !strings.Contains(out, "repository") {
		t.Errorf("a repository that can't be written: exit %d, %s %s", code, out, errs)
	}
	_, errs, code = b.try("backup", "run", "--database-url", "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable")
	if code != 6 {
		t.Errorf("nobody listens: exit %d, %s", code, errs)
	}
}
