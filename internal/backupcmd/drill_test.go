package backupcmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// A drill restores, checks, measures and leaves nothing; its result is kept, and a failing check fails it. It works for a
// server whose configuration isn't in its data directory, too, and with tablespaces.
func TestDrill(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := b.server(map[string]string{"max_connections": "150"})
	space := filepath.Join(pgtest.Dir(t), "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, space)
	pg.Exec("CREATE TABLESPACE other LOCATION '"+space+"'", "CREATE TABLE marks (n int PRIMARY KEY)", "CREATE DATABASE shop", "CREATE TABLE x TABLESPACE other AS SELECT 1 AS n")
	pg.Exec("CREATE DATABASE torn", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'torn'") // as an interrupted DROP leaves it
	m := &marks{pg: pg}
	m.add(2)
	// As Debian has it: the configuration elsewhere.
	pg.Stop("fast")
	etc := filepath.Join(filepath.Dir(pg.Dir), "postgresql.conf")
	if err := os.Rename(filepath.Join(pg.Dir, "postgresql.conf"), etc); err != nil {
		t.Fatal(err)
	}
	pg.ConfigFile = etc
	pg.Run()
	b.run("backup", "run", "--database-url", pg.DSN())
	m.add(2)
	b.flushWAL(pg)
	dir := pgtest.Dir(t)
	var good []backup.DrillResult
	b.runJSON(&good, "restore", "drill", "--dir", dir, "--check", "SELECT count(*) = 4 FROM marks", "--check", "SELECT n = 1 FROM x")
	if len(good) != 1 || !good[0].Passed() || len(good[0].Checks) != 5 || good[0].Recovery < good[0].Copied || good[0].Point.IsZero() {
		t.Errorf("%+v", good)
	}
	if torn := good[0].Checks[2]; torn.What != "database torn" || !strings.Contains(torn.Says, "interrupted") {
		t.Errorf("%+v", good[0].Checks)
	}
	if _, errs, code := b.try("backup", "run", "--logical", "--all-databases", "--database-url", pg.DSN()); code != 0 || !strings.Contains(errs, "database torn is not dumped") {
		t.Errorf("a dump of all: exit %d, %s", code, errs)
	}
	out, errs, code := b.try("restore", "drill", "--dir", dir, "--target-name", "mark-3", "--check", "SELECT count(*) = 4 FROM marks")
	if code != 5 || !strings.Contains(errs, "the drill failed") || !strings.Contains(out, "instead of one row that is true") {
		t.Errorf("a failing check: exit %d, %s%s", code, out, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	var all []backup.DrillResult
	b.runJSON(&all, "restore", "drill", "--list")
	if len(all) != 2 || !all[0].Passed() || all[1].Passed() {
		t.Errorf("kept: %+v", all)
	}
}
