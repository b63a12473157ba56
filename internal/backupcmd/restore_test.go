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

// planned is what restore -o json prints.
type planned struct {
	Plan struct {
		Backup  backup.Head
		Reaches *struct{ XID uint32 }
	}
	Stats   struct{ Fetched, Written, Kept int64 }
	Reached struct {
		Timeline int
		Reason   string
	}
}

// marks writes one row a transaction and remembers when, where and as what it committed.
type marks struct {
	pg  *pgtest.Cluster
	all []mark
}

type mark struct {
	n    int
	xid  string
	lsn  string    // behind the commit record
	time time.Time // behind the commit
	name string    // of a restore point made behind it
}

func (m *marks) add(n int) {
	for range n {
		k := mark{n: len(m.all) + 1}
		k.name = fmt.Sprintf("mark-%d", k.n)
		k.xid = m.pg.Value("INSERT INTO marks VALUES ($1) RETURNING pg_current_xact_id()::text", k.n)
		m.pg.One("SELECT pg_create_restore_point($1)", k.name)
		k.lsn = m.pg.One("SELECT pg_current_wal_lsn()")
		t, err := time.Parse("2006-01-02 15:04:05.999999-07", m.pg.One("SELECT clock_timestamp()"))
		if err != nil {
			panic(err)
		}
		k.time = t
		m.all = append(m.all, k)
	}
}

// restored runs a restore with --start, and returns the server.
func (b *bench) restored(p *planned, args ...string) *pgtest.Cluster {
	b.t.Helper()
	dir := filepath.Join(pgtest.Dir(b.t), "data")
	var got planned
	b.runJSON(&got, append([]string{"restore", "--to", dir, "--archive", "off"}, args...)...)
	if p != nil {
		*p = got
	}
	pg := pgtest.At(b.t, dir)
	pg.Env = b.env
	if b.pgBin != "" {
		pg.Bin = b.pgBin
	}
	pg.Run()
	pgtest.Eventually(b.t, "the restored server takes writes", func() bool {
		return pg.One("SELECT pg_is_in_recovery()") == "false"
	})
	return pg
}

// exactly checks that a restored server holds the first n marks and nothing else, and stops it.
func exactly(t *testing.T, pg *pgtest.Cluster, n int) {
	t.Helper()
	got := pg.One("SELECT count(*) || ' ' || coalesce(max(n), 0) FROM marks")
	if want := fmt.Sprintf("%d %d", n, n); got != want {
		t.Errorf("the restored database holds %s marks (count and last), want %s", got, want)
	}
	pg.Stop("immediate")
}

func TestBackupAndRestore(t *testing.T) {
	for _, kind := range []string{"file", "s3"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			backupAndRestore(t, newBench(t, kind))
		})
	}
}

func backupAndRestore(t *testing.T, b *bench) {
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 50000) n")
	m := &marks{pg: pg}
	m.add(3)
	var first, second backup.Head
	b.runJSON(&first, "backup", "run", "--database-url", pg.DSN(), "--label", "first")
	m.add(5)
	b.runJSON(&second, "backup", "run", "--database-url", pg.DSN())
	if second.Previous != first.ID || second.StoredBytes > first.StoredBytes/3 {
		t.Errorf("the second backup stored %d bytes, the first %d; previous %q", second.StoredBytes, first.StoredBytes, second.Previous)
	}
	m.add(5)
	b.flushWAL(pg)
	for _, c := range []struct {
		args []string
		want int
		from string
	}{
		{nil, 13, second.ID},
		{[]string{"--immediate", "--backup", first.ID}, 3, first.ID},
		{[]string{"--target-time", m.all[4].time.Format(time.RFC3339Nano)}, 5, first.ID},
		{[]string{"--target-time", m.all[10].time.Format(time.RFC3339Nano)}, 11, second.ID},
		{[]string{"--target-xid", m.all[9].xid}, 10, second.ID},
		{[]string{"--target-xid", m.all[9].xid, "--exclusive"}, 9, second.ID},
		{[]string{"--target-name", "mark-6"}, 6, first.ID},
		{[]string{"--target-lsn", m.all[8].lsn}, 9, second.ID},
	} {
		t.Run(strings.Join(append([]string{"to"}, c.args...), " "), func(t *testing.T) {
			b := *b
			b.t = t
			var p planned
			got := b.restored(&p, c.args...)
			exactly(t, got, c.want)
			if p.Plan.Backup.ID != c.from {
				t.Errorf("backup %s was used, not %s", p.Plan.Backup.ID, c.from)
			}
		})
	}
}
