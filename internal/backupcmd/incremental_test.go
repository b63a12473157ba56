package backupcmd_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// content is a hash of everything in the tables that the tests change.
const content = `SELECT md5(string_agg(h, ',' ORDER BY name)) FROM (
	SELECT 'big' AS name, md5(string_agg(n || t, ',' ORDER BY n)) AS h FROM big
	UNION ALL SELECT 'shrinks', md5(string_agg(n::text, ',' ORDER BY n)) FROM shrinks
	UNION ALL SELECT 'o', md5(string_agg(n::text, ',' ORDER BY n)) FROM o) x`

// prepare makes tables to change.
func prepare(pg *pgtest.Cluster) {
	pg.Exec("CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS t FROM generate_series(1, 30000) n",
		"ALTER TABLE big ADD PRIMARY KEY (n)", "CREATE TABLE gone AS SELECT n FROM generate_series(1, 50000) n",
		"CREATE TABLE shrinks AS SELECT n FROM generate_series(1, 200000) n", "VACUUM ANALYZE")
}

// change changes a little of what prepare made: scattered rows, a shorter table, a longer one, a new and a dropped one.
func change(pg *pgtest.Cluster, round int) {
	pg.Exec(fmt.Sprintf("UPDATE big SET t = 'round %d ' || n WHERE n %% 3000 = %d", round, round),
		fmt.Sprintf("DELETE FROM shrinks WHERE n > %d", 200000-40000*round), "VACUUM (TRUNCATE) shrinks",
		"INSERT INTO o SELECT n FROM generate_series(1, 3000) n", "DROP TABLE IF EXISTS gone",
		fmt.Sprintf("CREATE TABLE new%d AS SELECT n FROM generate_series(1, 1000) n", round))
}

// Where the server summarizes its log, only what changed crosses the wire, and every backup restores alone.
func TestIncremental(t *testing.T) {
	for _, major := range []int{17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			b, pg := version(t, major, map[string]string{"summarize_wal": "on"})
			eachRestoresAlone(t, b, pg, major, func(h backup.Head, i int) {
				if i > 0 && (h.FullRead != "" || h.ReadBytes > h.Bytes/5) {
					t.Errorf("backup %d read %d of %d bytes: %s", i+1, h.ReadBytes, h.Bytes, h.FullRead)
				}
			})
		})
	}
}

// eachRestoresAlone makes four backups between which little changes, and restores each.
func eachRestoresAlone(t *testing.T, b *bench, pg *pgtest.Cluster, major int, check func(h backup.Head, i int), args ...string) {
	t.Helper()
	oid := spaceOf(pg)
	prepare(pg)
	// What was written just before a backup is read again by the next: its time might not tell a later change.
	time.Sleep(3 * time.Second)
	var ids, want []string
	for i := range 4 {
		if i > 0 {
			change(pg, i)
		}
		want = append(want, pg.One(content))
		var h backup.Head
		b.runJSON(&h, append([]string{"backup", "run", "--database-url", pg.DSN()}, args...)...)
		ids = append(ids, h.ID)
		if i > 0 && (h.Previous != ids[i-1] || h.StoredBytes > 4<<20) {
			t.Errorf("backup %d stored %d bytes, previous %q", i+1, h.StoredBytes, h.Previous)
		}
		check(h, i)
	}
	b.run("backup", "verify")
	for i, id := range ids {
		there := filepath.Join(pgtest.Dir(t), "there")
		got := b.restored(nil, "--backup", id, "--immediate", "--tablespace", oid+"="+there)
		if c := got.One(content); c != want[i] {
			t.Errorf("backup %d holds %s instead of %s", i+1, c, want[i])
		}
		got.One(`SELECT count(bt_index_check(i.indexrelid, true)::text) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relpersistence = 'p'`)
		got.Stop("immediate")
	}
}

// A backup of local files holds the same as one over the wire, and reads only the files that changed.
func TestLocalFiles(t *testing.T) {
	for _, major := range pgtest.Majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			b, pg := version(t, major, nil)
			eachRestoresAlone(t, b, pg, major, func(h backup.Head, i int) {
				if i > 0 && (h.FullRead != "" || h.ReadBytes > h.Bytes*3/4) {
					t.Errorf("backup %d read %d of %d bytes: %s", i+1, h.ReadBytes, h.Bytes, h.FullRead)
				}
			}, "--pgdata", pg.Dir)
		})
	}
}

// Where the server can't tell what changed, everything is read, and the backup says why.
func TestFullReadSaysWhy(t *testing.T) {
	for major, want := range map[int]string{16: "17 and later", 17: "summarize_wal is off"} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			b, pg := version(t, major, nil)
			for i := range 2 {
				var h backup.Head
				b.runJSON(&h, "backup", "run", "--database-url", pg.DSN())
				if strings.Contains(h.FullRead, want) != (i == 1) {
					t.Errorf("backup %d: %q", i+1, h.FullRead)
				}
			}
		})
	}
}
