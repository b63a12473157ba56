package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/covetpy/covet/test/pg"
)

// The archiver has stood still, and the server is killed: what only its directory has of the log isn't lost with it. What was
// to be archived is, and the rest lies beside: both together bring back every transaction.
func TestDatabaseRollbackKeepsTheLog(t *testing.T) {
	t.Parallel()
	b := newBookshop(t, "file", true)
	b.pg.Exec("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()", "INSERT INTO marks VALUES (6)", "SELECT pg_switch_wal()", "INSERT INTO marks VALUES (7)")
	b.pg.Stop("immediate")
	if a := b.say(b.rollback("--yes")...); a.code != 0 || !a.says("files were archived", "kept in") {
		t.Fatalf("the rollback: %v", a)
	}
	if got := b.pg.One("SELECT max(n) FROM marks"); got != "3" {
		t.Errorf("the database holds %s", got)
	}
	kept, err := filepath.Glob(b.pg.Dir + ".covet-wal-*/*")
	if err != nil || len(kept) == 0 {
		t.Fatalf("nothing was kept: %v", err)
	}
	for _, c := range []struct {
		want string
		with []string
	}{{"6", nil}, {"7", kept}} {
		dir := filepath.Join(pgtest.Dir(t), "data")
		restore := pgtest.Command(t, built.covetctl, "restore", "--to", dir, "--timeline", "1", "--archive", "off", "--state-dir", filepath.Dir(dir))
		restore.Env = b.repo
		if out, err := restore.CombinedOutput(); err != nil {
			t.Fatalf("restore: %v\n%s", err, out)
		}
		for _, path := range c.with {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, "pg_wal", filepath.Base(path))
			if err := os.WriteFile(to, data, fs.FileMode(0o600)); err != nil {
				t.Fatal(err)
			}
			pgtest.Own(t, to)
		}
		pg := pgtest.At(t, dir)
		pg.Env = b.repo
		pg.Run()
		pgtest.Eventually(t, "recovery ends", func() bool { return pg.One("SELECT pg_is_in_recovery()") == "false" })
		if got := pg.One("SELECT max(n) FROM marks"); got != c.want {
			t.Errorf("with %v it holds %s, want %s", c.with, got, c.want)
		}
		pg.Stop("immediate")
	}
}
