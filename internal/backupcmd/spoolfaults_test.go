package backupcmd_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	disktest "github.com/covetpy/covet/test/disk"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// killAll kills the processes whose command lines have all of the words, which are this test's own, and says how many.
func killAll(t *testing.T, words ...string) (n int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil { // it has ended
			continue
		}
		args := strings.Split(string(line), "\x00")
		if slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(args, w) }) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// wal push with a spool, and what it starts, are killed at random moments, again and again: in the end each segment is in the
// repository as PostgreSQL wrote it, once.
func TestKilledPushes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"wal_keep_size": "512MB"}})
	pg.Exec("CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 150000) n")
	for range 6 {
		pg.Exec("INSERT INTO filler SELECT n, md5(n::text) FROM generate_series(1, 20000) n", "SELECT pg_switch_wal()")
	}
	segments, err := filepath.Glob(pg.Dir + "/pg_wal/0000000100000000000000*")
	if err != nil || len(segments) < 7 {
		t.Fatal(segments, err)
	}
	segments = segments[:len(segments)-1] // PostgreSQL writes to the last
	spool := pgtest.Dir(t) + "/spool"
	b.env = append(b.env, "COVET_WAL_SPOOL="+spool)
	kills := 0
	for _, path := range segments {
		for range 12 {
			kills += b.killedPush(t, path)
			kills += killAll(t, "drain", spool)
		}
		b.run("wal", "push", path)
	}
	t.Logf("%d processes were killed", kills)
	if kills < len(segments)*6 {
		t.Errorf("only %d processes could be killed", kills)
	}
	pgtest.Eventually(t, "the spool is empty", func() bool {
		_, _, code := b.try("wal", "drain")
		return code == 0 && b.walState().Spool.Files == 0
	})
	root := strings.TrimPrefix(b.repo, "file://")
	stored, err := filepath.Glob(root + "/orders/*/wal/00000001/*")
	if err != nil || len(stored) != len(segments) {
		t.Errorf("the repository has %d files of %d segments: %v", len(stored), len(segments), stored)
	}
	system := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(stored[0]))))
	for _, path := range segments {
		got := filepath.Join(pgtest.Dir(t), "segment")
		b.run("wal", "fetch", filepath.Base(path), got, "--system", system)
		want, err1 := os.ReadFile(path)
		have, err2 := os.ReadFile(got)
		if err1 != nil || err2 != nil || !bytes.Equal(want, have) {
			t.Errorf("%s is not as PostgreSQL wrote it: %v %v", filepath.Base(path), err1, err2)
		}
	}
}

// killedPush starts to push a segment and kills it after a moment; 0 where it had ended by then.
func (b *bench) killedPush(t *testing.T, path string) int {
	t.Helper()
	cmd := b.command("wal", "push", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(rand.N(150 * time.Millisecond))
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if cmd.Wait() == nil {
		return 0
	}
	return 1
}

// The spool's disk is full and the repository is away: archive_command fails and says why, PostgreSQL keeps its log; when the
// repository is back everything goes on by itself.
func TestSpoolOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := disktest.Small(t, "12m")
	b, srv := newBench(t, "file"), s3test.Start(t)
	var away atomic.Bool
	proxy := s3test.StartProxy(t, srv, func(int64, *http.Request) s3test.Fault {
		if away.Load() {
			return s3test.Expired // fails at once, without being tried again
		}
		return s3test.Pass
	})
	b.repo = "s3://" + srv.Bucket(t)
	b.env = append(b.env, "COVET_REPO="+b.repo, "COVET_S3_ENDPOINT="+proxy.Endpoint, "S3_REGION=us-east-1", "COVET_WAL_SPOOL="+disk+"/spool")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler (t text)")
	m := &marks{pg: pg}
	m.add(1)
	b.run("backup", "run", "--database-url", pg.DSN())
	away.Store(true)
	tried := func() string { return pg.One("SELECT archived_count + failed_count FROM pg_stat_archiver") }
	pgtest.Within(t, 5*time.Minute, "archiving fails", func() bool {
		before := tried()
		m.add(1)
		pg.Exec("INSERT INTO filler SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, 60000)", "SELECT pg_switch_wal()")
		pgtest.Within(t, 2*time.Minute, "the segment was tried", func() bool { return tried() != before })
		return pg.One("SELECT failed_count FROM pg_stat_archiver") != "0"
	})
	if log := pg.Log(); !strings.Contains(log, backup.ErrSpoolFull.Error()) || !strings.Contains(log, "expired") {
		t.Errorf("the server's log doesn't say why: %s", log)
	}
	fill(t, disk) // somebody else takes what is left
	m.add(1)
	away.Store(false)
	b.flushWAL(pg)
	pgtest.Within(t, 5*time.Minute, "the spool is empty", func() bool { return b.walState().Spool.Files == 0 })
	if st := b.walState(); len(st.Spool.Refused) > 0 || st.Spool.Fault != "" {
		t.Errorf("spool: %+v", st.Spool)
	}
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	exactly(t, b.restored(nil), len(m.all))
}

// The process that fetches ahead of a recovery is killed whenever it is seen: the recovery doesn't mind.
func TestKilledPrefetch(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler (n int, t text)")
	m := &marks{pg: pg}
	m.add(1)
	b.run("backup", "run", "--database-url", pg.DSN())
	for range 10 {
		m.add(1)
		pg.Exec("INSERT INTO filler SELECT n, md5(n::text) FROM generate_series(1, 100000) n")
	}
	b.flushWAL(pg)
	stop, killed := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				killed <- n
				return
			case <-time.After(time.Duration(20+rand.IntN(60)) * time.Millisecond):
				n += killAll(t, "prefetch", b.repo)
			}
		}
	}()
	got := b.restored(nil)
	close(stop)
	n := <-killed
	t.Logf("killed %d times", n)
	if n == 0 {
		t.Error("the process that fetches ahead was never seen")
	}
	exactly(t, got, len(m.all))
	if left, err := filepath.Glob(got.Dir + "/pg_wal/.covet/fetched-*/*"); err != nil || len(left) > 20 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
