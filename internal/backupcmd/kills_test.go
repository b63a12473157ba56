package backupcmd_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// victims is a server with an archive, whose commands are killed at moments spread over all of their lives. The next run
// heals what one has left; in the end everything is good, and nothing is left over.
type victims struct {
	*bench
	pg    *pgtest.Cluster
	srv   *s3test.Server
	marks *marks
	n     int
}

func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	v := &victims{bench: newBench(t, "file"), srv: s3test.Start(t), n: times(t, "COVET_KILLS", 2)}
	v.repo = "s3://" + v.srv.Bucket(t) + "/prod"
	v.env = append(v.env, "COVET_REPO="+v.repo, "COVET_S3_ENDPOINT="+v.srv.Endpoint, "S3_REGION=us-east-1")
	v.pg = v.server(nil)
	v.pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, n % 100 AS part, md5(n::text) AS t FROM generate_series(1, 400000) n",
		"CREATE INDEX ON filler (n)", "CREATE DATABASE shop")
	v.marks = &marks{pg: v.pg}
	v.marks.add(1)
	t.Run("backup run", v.backups)
	t.Run("wal push", v.pushes)
	t.Run("restore", v.restores)
	t.Run("restore --logical", v.undumps)
	t.Run("restore drill", v.drills)
	t.Run("backup expire", v.expiries)
	t.Run("wal receive", v.receives)
}

// lifetime runs a command to its end and says how long it took.
func (v *victims) lifetime(args ...string) time.Duration {
	began := time.Now()
	v.run(args...)
	return time.Since(began)
}

// kill starts a command and kills it at some moment of its life. It says when, and whether that was before its end; where it
// wasn't, the life is known to be shorter.
func (v *victims) kill(life *time.Duration, args ...string) (at time.Duration, killed bool) {
	v.t.Helper()
	at = rand.N(*life)
	cmd := v.command(args...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		*life = time.Since(began)
		return at, false
	case <-time.After(at):
	}
	_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	return at, <-ended != nil
}

// path is where the S3 server keeps what the repository has under a key.
func (v *victims) path(key string) string {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(v.repo, "s3://"), "/")
	return v.srv.Path(bucket, prefix+"/"+key)
}

func (v *victims) glob(pattern string) []string {
	files, err := filepath.Glob(v.path(pattern))
	if err != nil {
		v.t.Fatal(err)
	}
	return files
}

// on is the same for a subtest.
func (v *victims) on(t *testing.T) *victims {
	c := *v
	c.bench = v.bench.on(t)
	return &c
}

func (v *victims) backups(t *testing.T) {
	v = v.on(t)
	args := []string{"backup", "run", "--full", "--database-url", v.pg.DSN()}
	life := v.lifetime(args...)
	want, killed := 1, 0
	for i := range v.n {
		v.pg.Exec(fmt.Sprintf("UPDATE filler SET t = md5(t) WHERE part = %d", i%100))
		at, yes := v.kill(&life, args...)
		if yes {
			killed++
		}
		var heads []backup.Head
		v.runJSON(&heads, "backup", "list")
		if more := len(heads) - want; more < 0 || more > 1 {
			t.Fatalf("killed after %s: %d backups, there were %d", at, len(heads), want)
		}
		want = len(heads)
	}
	t.Logf("%d of %d were killed within %s; %d backups are there", killed, v.n, life, want)
	v.pg.Exec("UPDATE filler SET t = md5(t) WHERE part = 99")
	v.run("backup", "run", "--database-url", v.pg.DSN())
	v.run("backup", "verify")
	pgtest.Eventually(t, "the server has no slot and no backup under way", func() bool {
		return v.pg.One(`SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_stat_replication)
			+ (SELECT count(*) FROM pg_stat_progress_basebackup)`) == "0"
	})
	v.nothingLeft(t)
}

// nothingLeft lets the time pass in which a killed backup may still be alive, and checks that expiring then takes all that
// it left.
func (v *victims) nothingLeft(t *testing.T) {
	t.Helper()
	long := time.Now().Add(-72 * time.Hour)
	for _, lock := range v.glob("orders/*/locks/*") {
		if err := os.Chtimes(lock, long, long); err != nil {
			t.Fatal(err)
		}
	}
	v.run("backup", "expire", "--keep", "1")
	var again backup.Expiry
	if v.runJSON(&again, "backup", "expire", "--keep", "1", "--plan"); len(again.Packs)+len(again.Waiting)+again.WAL > 0 {
		t.Errorf("expiring has left something: %+v", again)
	}
	if locks := v.glob("orders/*/locks/*"); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
	v.run("backup", "verify")
}

func (v *victims) pushes(t *testing.T) {
	v = v.on(t)
	v.pg.Exec("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
	v.marks.add(1)
	name := v.pg.One("SELECT pg_walfile_name(pg_switch_wal())")
	v.pg.Exec("CHECKPOINT")
	path := v.pg.Dir + "/pg_wal/" + name
	life, killed := 300*time.Millisecond, 0
	for range v.n {
		if _, yes := v.kill(&life, "wal", "push", path, "--ahead", "0"); yes {
			killed++
		}
	}
	t.Logf("%d of %d were killed", killed, v.n)
	v.run("wal", "push", path)
	v.run("wal", "push", path) // the same again
	v.pg.Exec("ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()")
	v.flushWAL(v.pg)
	if out := v.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	v.run("backup", "verify")
}

func (v *victims) restores(t *testing.T) {
	v = v.on(t)
	v.flushWAL(v.pg)
	args := func(dir string) []string {
		return []string{"restore", "--to", dir, "--archive", "off", "--start", "--pg-options", "-c listen_addresses= -k " + filepath.Dir(dir)}
	}
	stop := func(dir string) {
		pg := pgtest.At(t, dir)
		pg.Stop("immediate")
	}
	dir := dataDir(t)
	life := v.lifetime(args(dir)...)
	stop(dir)
	killed := 0
	for range v.n {
		dir := dataDir(t)
		at, yes := v.kill(&life, args(dir)...)
		if yes {
			killed++
			_, errs, code := v.try(args(dir)...)
			if code != 0 {
				// Where PostgreSQL has been started already, going on is what is asked for by its name.
				if _, more, code := v.try("restore", "resume", "--to", dir); code != 0 {
					t.Fatalf("killed after %s of %s: neither again: %s\nnor resume: %s", at, life, errs, more)
				}
				t.Logf("killed after %s of %s: again: %s", at, life, errs)
			}
		}
		stop(dir)
		pg := pgtest.At(t, dir)
		pg.Run()
		exactly(t, pg, len(v.marks.all))
	}
	t.Logf("%d of %d were killed within %s", killed, v.n, life)
}

func (v *victims) undumps(t *testing.T) {
	v = v.on(t)
	shop := strings.Replace(v.pg.DSN(), "/postgres?", "/shop?", 1)
	if out, err := exec.Command(filepath.Join(pgtest.Bin(t), "psql"), "-d", shop, "-c", "CREATE TABLE goods AS SELECT n, md5(n::text) AS t FROM generate_series(1, 300000) n", "-c", "ALTER TABLE goods ADD PRIMARY KEY (n)").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	v.run("backup", "run", "--logical", "--database-url", shop)
	restore := func(to string) []string {
		return []string{"restore", "--logical", "--database", "shop", "--into", shop, "--to-database", to}
	}
	life := v.lifetime(restore("copy")...)
	killed := 0
	for i := range v.n {
		to := fmt.Sprintf("copy_%d", i)
		at, yes := v.kill(&life, restore(to)...)
		if !yes {
			continue
		}
		killed++
		_, errs, code := v.try(restore(to)...)
		if strings.Contains(errs, "make database "+to) { // the server was making it still when the next run looked
			_, errs, code = v.try(restore(to)...)
		}
		rows, err := exec.Command(filepath.Join(pgtest.Bin(t), "psql"), "-At", "-d", strings.Replace(shop, "/shop?", "/"+to+"?", 1), "-c", "SELECT count(*) FROM goods").CombinedOutput()
		if got := strings.TrimSpace(string(rows)); code != 0 && !strings.Contains(errs, "already") || got != "300000" {
			t.Errorf("killed after %s of %s: again: exit %d, %s; the table has %s (%v)", at, life, code, errs, got, err)
		}
		v.pg.Exec("DROP DATABASE " + to)
	}
	t.Logf("%d of %d were killed within %s", killed, v.n, life)
	pgtest.Eventually(t, "nobody is connected to a copy", func() bool {
		return v.pg.One("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'copy%'") == "0"
	})
}

func (v *victims) drills(t *testing.T) {
	v = v.on(t)
	dir := pgtest.Dir(t)
	args := []string{"restore", "drill", "--dir", dir}
	life := v.lifetime(args...)
	killed := 0
	for range v.n {
		if _, yes := v.kill(&life, args...); yes {
			killed++
		}
	}
	t.Logf("%d of %d were killed within %s", killed, v.n, life)
	v.run(args...)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if out, err := exec.Command("pgrep", "-f", "postgres.*"+dir).CombinedOutput(); err == nil {
		t.Errorf("servers run still: %s", out)
	}
}

func (v *victims) expiries(t *testing.T) {
	v = v.on(t)
	for i := range 3 {
		v.pg.Exec(fmt.Sprintf("UPDATE filler SET t = md5(t) WHERE part = %d", 50+i))
		v.run("backup", "run", "--database-url", v.pg.DSN())
	}
	v.flushWAL(v.pg)
	from, _, _ := strings.Cut(strings.TrimPrefix(v.repo, "s3://"), "/")
	life := 300 * time.Millisecond
	killed := 0
	for range v.n {
		to := v.srv.Bucket(t)
		if out, err := exec.Command("cp", "-a", v.srv.Path(from, "prod"), v.srv.Path(to, "prod")).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		c := v.on(t)
		c.repo = "s3://" + to + "/prod"
		c.env = append(append([]string{}, v.env...), "COVET_REPO="+c.repo)
		at, yes := c.kill(&life, "backup", "expire", "--keep", "1")
		if yes {
			killed++
		}
		c.run("backup", "verify")
		if out := c.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
			t.Errorf("killed after %s: %s", at, out)
		}
		c.nothingLeft(t)
		c.srv.Clear(t, to)
	}
	t.Logf("%d of %d were killed", killed, v.n)
}

func (v *victims) receives(t *testing.T) {
	v = v.on(t)
	v.pg.Exec("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
	args := []string{"wal", "receive", "--every", "100ms", "--database-url", v.pg.DSN()}
	life := 2 * time.Second // it ends only when it is killed
	v.kill(&life, args...)
	for i := range v.n {
		v.marks.add(1)
		v.pg.Exec(fmt.Sprintf("UPDATE filler SET t = md5(t) WHERE part = %d", i%100))
		v.kill(&life, args...)
		if i%3 == 0 {
			v.pg.Exec("SELECT pg_switch_wal()")
		}
	}
	v.marks.add(1)
	last := v.pg.One("SELECT pg_walfile_name(pg_switch_wal())")
	v.background(args...)
	pgtest.Eventually(t, "all that was written has been received", func() bool { return len(v.glob("orders/*/wal/*/"+last)) > 0 })
	if out := v.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	if n := v.pg.One("SELECT count(*) FROM pg_replication_slots"); n != "1" {
		t.Errorf("%s slots", n)
	}
	v.run("backup", "verify")
	exactly(t, v.restored(nil), len(v.marks.all))
}
