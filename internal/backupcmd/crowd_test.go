package backupcmd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// Under a steady load, with backups and archiving going on, restores to random points each hold exactly what had
// committed by then, and pgbench's books balance.
func TestCrowdOfRestores(t *testing.T) {
	for _, kind := range []string{"file", "s3"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			crowdOfRestores(t, newBench(t, kind))
		})
	}
}

func crowdOfRestores(t *testing.T, b *bench) {
	pg := b.server(map[string]string{"checkpoint_timeout": "30s"})
	bin := pgtest.Bin(t)
	if out, err := exec.Command(filepath.Join(bin, "pgbench"), "-i", "-s", "1", "-q", pg.DSN()).CombinedOutput(); err != nil {
		t.Fatalf("pgbench -i: %v\n%s", err, out)
	}
	pg.Exec("CREATE TABLE marks (n int)")
	ctx, stop := context.WithCancel(t.Context())
	load := exec.CommandContext(ctx, filepath.Join(bin, "pgbench"), "-n", "-c", "2", "-T", "600", "-R", "300", pg.DSN())
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	m := &marks{pg: pg}
	var heads []backup.Head
	var behind []int // the mark behind which each backup ended
	for range 3 {
		m.add(8)
		var h backup.Head
		b.runJSON(&h, "backup", "run", "--database-url", pg.DSN())
		heads, behind = append(heads, h), append(behind, len(m.all))
		m.add(8)
		b.flushWAL(pg)
	}
	stop()
	_ = load.Wait() // killed
	m.add(1)        // so that a later commit ends every time target
	b.flushWAL(pg)
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for range times(t, "COVET_TEST_RESTORES", 6) {
		k := m.all[behind[0]+rnd.IntN(len(m.all)-1-behind[0])]
		args := [][]string{
			{"--target-xid", k.xid}, {"--target-name", k.name}, {"--target-lsn", k.lsn}, {"--target-time", k.time.Format(time.RFC3339Nano)},
		}[rnd.IntN(4)]
		t.Run(fmt.Sprintf("mark %d by %s", k.n, args[0]), func(t *testing.T) {
			pg := b.on(t).restored(nil, args...)
			if sums := pg.One(`SELECT (SELECT sum(abalance) FROM pgbench_accounts) || ' ' || (SELECT sum(tbalance) FROM pgbench_tellers)
				|| ' ' || (SELECT sum(bbalance) FROM pgbench_branches) || ' ' || (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`); !same(sums) {
				t.Errorf("pgbench's books don't balance: %s", sums)
			}
			if out, err := exec.Command(filepath.Join(bin, "pg_amcheck"), "--install-missing", "-h", "127.0.0.1", "-p", strconv.Itoa(pg.Port), "-U", "postgres", "postgres").CombinedOutput(); err != nil {
				t.Errorf("pg_amcheck: %v\n%s", err, out)
			}
			exactly(t, pg, k.n)
		})
	}
	if len(heads) != 3 {
		t.Errorf("%d backups", len(heads))
	}
}

// same says whether all words are.
func same(s string) bool {
	words := strings.Fields(s)
	for _, w := range words {
		if w != words[0] {
			return false
		}
	}
	return len(words) == 4
}

// A restored server that takes over archives its own timeline; both histories can be restored from then on.
func TestTimelines(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	m.add(2)
	b.run("backup", "run", "--database-url", pg.DSN())
	m.add(4)
	b.flushWAL(pg)
	pg.Stop("fast")

	// The new primary leaves timeline 1 behind mark 3 and writes 103 and 104.
	dir := filepath.Join(pgtest.Dir(t), "data")
	b.run("restore", "--to", dir, "--target-name", "mark-3", "--start", "--pg-options", "-c listen_addresses= -k "+filepath.Dir(dir))
	second := pgtest.At(t, dir)
	second.Env = b.env
	second.Stop("fast")
	second.Run()
	second.Exec("INSERT INTO marks VALUES (103)")
	b.flushWAL(second)
	second.Exec("INSERT INTO marks VALUES (104)")
	b.flushWAL(second)

	holds := func(want string, args ...string) {
		t.Helper()
		got := b.restored(nil, args...)
		if text := got.One("SELECT string_agg(n::text, ' ' ORDER BY n) FROM marks"); text != want {
			t.Errorf("%v: the database holds %s, want %s", args, text, want)
		}
		got.Stop("immediate")
	}
	holds("1 2 3 103 104")
	holds("1 2 3 4 5 6", "--timeline", "1")
	holds("1 2 3 4", "--timeline", "1", "--target-name", "mark-4")
	var h backup.Head
	b.runJSON(&h, "backup", "run", "--database-url", second.DSN())
	if h.Timeline != 2 {
		t.Errorf("the backup is on timeline %d", h.Timeline)
	}
	second.Exec("INSERT INTO marks VALUES (105)")
	b.flushWAL(second)
	holds("1 2 3 103 104 105", "--backup", h.ID)
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Errorf("gaps: %s", out)
	}
	b.run("backup", "verify")
}

// Tablespaces go where they are told; unlogged tables are there, and empty.
func TestTablespaces(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := b.server(nil)
	space := filepath.Join(pgtest.Dir(t), "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, space)
	pg.Exec("CREATE TABLESPACE other LOCATION '"+space+"'", "CREATE TABLE marks (n int) TABLESPACE other", "CREATE UNLOGGED TABLE u AS SELECT 1 AS n", "INSERT INTO marks VALUES (1)")
	b.run("backup", "run", "--database-url", pg.DSN(), "--wait-wal", "0s")
	oid := pg.One("SELECT oid FROM pg_tablespace WHERE spcname = 'other'")
	if _, errs, code := b.try("restore", "--to", dataDir(t), "--immediate"); code != 5 || !strings.Contains(errs, space) {
		t.Errorf("over the original's tablespace: exit %d, %s", code, errs)
	}
	moved := filepath.Join(pgtest.Dir(t), "moved")
	got := b.restored(nil, "--immediate", "--tablespace", oid+"="+moved)
	if at := got.One("SELECT pg_tablespace_location(" + oid + ")"); at != moved {
		t.Errorf("the tablespace is at %s", at)
	}
	if n := got.One("SELECT count(*) FROM u"); n != "0" {
		t.Errorf("the unlogged table has %s rows", n)
	}
	exactly(t, got, 1)
	b.spacesOfOthers(pg, got, oid, moved)
}

// spacesOfOthers checks that --delta into a directory keeps to its own tablespace, and to no running server's: where the backup
// had it the original is at work.
func (b *bench) spacesOfOthers(pg, copied *pgtest.Cluster, oid, own string) {
	t := b.t
	t.Helper()
	pg.Exec("INSERT INTO marks SELECT generate_series(2, 5000)", "CHECKPOINT")
	copied.Run()
	copied.Exec("INSERT INTO marks VALUES (99)")
	copied.Stop("fast")
	args := []string{"restore", "--to", copied.Dir, "--delta", "--immediate", "--archive", "off", "--start", "--pg-options", "-c listen_addresses= -k " + filepath.Dir(copied.Dir)}
	if out := b.run(append(args, "--plan")...); !strings.Contains(out, oid+": "+own) {
		t.Errorf("the plan does not say where the tablespace is: %s", out)
	}
	b.run(args...)
	at := pgtest.At(t, copied.Dir)
	at.Stop("fast")
	at.Run()
	exactly(t, at, 1)
	link := filepath.Join(copied.Dir, "pg_tblspc", oid) // as in a copy of the original's directory
	space := pg.One("SELECT pg_tablespace_location(" + oid + ")")
	if err := errors.Join(os.Remove(link), os.Symlink(space, link)); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--tablespace", oid + "=" + space}} {
		if _, errs, code := b.try(append(args, more...)...); code != 5 || !strings.Contains(errs, pg.Dir) {
			t.Errorf("over a running server's tablespace: exit %d, %s", code, errs)
		}
	}
	exactly(t, pg, 5000)
}

// With every fifth request to the S3 server failing, in all ways, everything works all the same.
func TestFlakyS3(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	srv := s3test.Start(t)
	kinds := []s3test.Fault{s3test.Fail500, s3test.Fail503, s3test.Reset, s3test.Lose, s3test.Truncate, s3test.Slow}
	proxy := s3test.StartProxy(t, srv, func(n int64, _ *http.Request) s3test.Fault {
		if n%5 == 2 {
			return kinds[int(n/5)%len(kinds)]
		}
		return s3test.Pass
	})
	b.env = append(b.env, "COVET_REPO=s3://"+srv.Bucket(t), "COVET_S3_ENDPOINT="+proxy.Endpoint, "S3_REGION=us-east-1")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 300000) n")
	m := &marks{pg: pg}
	m.add(1)
	b.run("backup", "run", "--compression", "none", "--database-url", pg.DSN())
	m.add(1)
	b.flushWAL(pg)
	b.run("backup", "verify")
	exactly(t, b.restored(nil), 2)
	if proxy.Faults() < 10 {
		t.Errorf("only %d faults", proxy.Faults())
	}
}
