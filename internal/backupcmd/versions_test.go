package backupcmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// Every supported version is backed up, with its tablespaces, and restored to a time, a transaction, a name and the end.
func TestEveryVersion(t *testing.T) {
	for _, major := range pgtest.Majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			everyVersion(t, major)
		})
	}
}

// version is a bench with a server of one version that has a tablespace outside and, where there are such, one inside
// its directory.
func version(t *testing.T, major int, settings map[string]string) (*bench, *pgtest.Cluster) {
	t.Helper()
	b := newBench(t, "file")
	b.pgBin = pgtest.BinOf(t, major)
	if settings == nil {
		settings = map[string]string{}
	}
	if major >= 15 {
		settings["allow_in_place_tablespaces"] = "on" // recovery refuses such tablespaces without
	}
	pg := b.server(settings)
	if got := pg.One("SELECT current_setting('server_version_num')::int / 10000"); got != fmt.Sprint(major) {
		t.Fatalf("the server is PostgreSQL %s", got)
	}
	space := filepath.Join(pgtest.Dir(t), "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, space)
	pg.Exec("CREATE EXTENSION amcheck", "CREATE TABLESPACE outside LOCATION '"+space+"'",
		"CREATE TABLE marks (n int PRIMARY KEY)", "CREATE TABLE o TABLESPACE outside AS SELECT n FROM generate_series(1, 5000) n",
		"CREATE UNLOGGED TABLE u AS SELECT 1 AS n")
	if major >= 15 {
		pg.Exec("CREATE TABLESPACE inside LOCATION ''", "CREATE TABLE i TABLESPACE inside AS SELECT n FROM generate_series(1, 7000) n")
	}
	return b, pg
}

// spaceOf is the OID of the tablespace outside.
func spaceOf(pg *pgtest.Cluster) string {
	return pg.One("SELECT oid FROM pg_tablespace WHERE spcname = 'outside'")
}

func everyVersion(t *testing.T, major int) {
	b, pg := version(t, major, nil)
	oid, m := spaceOf(pg), &marks{pg: pg}
	m.add(2)
	var first, second backup.Head
	b.runJSON(&first, "backup", "run", "--database-url", pg.DSN())
	m.add(2)
	b.runJSON(&second, "backup", "run", "--database-url", pg.DSN())
	if second.Previous != first.ID || second.StoredBytes > first.StoredBytes/3 || second.PGVersion/10000 != major {
		t.Errorf("second backup: %+v", second)
	}
	m.add(3)
	b.flushWAL(pg)
	b.run("backup", "verify")
	for _, c := range []struct {
		args []string
		want int
	}{
		{nil, 7},
		{[]string{"--target-time", m.all[2].time.Format(time.RFC3339Nano)}, 3},
		{[]string{"--target-xid", m.all[4].xid}, 5},
		{[]string{"--target-name", "mark-6"}, 6},
	} {
		got := b.restored(nil, append(c.args, "--tablespace", oid+"="+filepath.Join(pgtest.Dir(t), "there"))...)
		sound(t, got, major)
		exactly(t, got, c.want)
	}
}

// sound checks what version made in the restored server: all rows are there, the unlogged table is empty, and each index
// is in order.
func sound(t *testing.T, pg *pgtest.Cluster, major int) {
	t.Helper()
	inside := "7000"
	if major >= 15 {
		inside = pg.One("SELECT count(*) FROM i")
	}
	got := pg.One("SELECT (SELECT count(*) FROM o) || ' ' || (SELECT count(*) FROM u)") + " " + inside
	if got != "5000 0 7000" {
		t.Errorf("the tablespaces' and the unlogged table have %s rows", got)
	}
	pg.One(`SELECT count(bt_index_check(i.indexrelid, true)::text) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relpersistence = 'p'`)
}
