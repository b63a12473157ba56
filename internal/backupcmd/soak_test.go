package backupcmd_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// soakTime is how long the soak lasts; COVET_SOAK says otherwise.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("COVET_SOAK")
	if text == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The archive_command and the restore_command of a server and its standby under load: half of the time without, half with the
// spool and the agent; whatever archives or fetches is killed now and then, and the S3 server is away now and then.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	s.half("archived by wal push alone")
	s.startAgent()
	s.pg.Exec("ALTER SYSTEM SET archive_command = '"+s.spooling("wal push %p")+"'", "SELECT pg_reload_conf()")
	s.half("archived through the spool and the agent")
	s.stopLoad()
	s.settle()
	s.judge()
}

// soak is a server under load, its standby, which has nothing but the archive, and what happened to them.
type soak struct {
	*bench
	srv      *s3test.Server
	pg       *pgtest.Cluster
	standby  *pgtest.Cluster
	marks    *marks
	half     func(what string)
	stopLoad func()
	socket   string
	spool    string

	mu         sync.Mutex // of agent
	agent      *exec.Cmd
	kills      atomic.Int64 // of push and fetch
	starting   atomic.Bool  // the standby is: pgtest wants it to succeed
	restarts   int          // of the standby: PostgreSQL ends where its restore_command is killed
	agentKills int
	outages    int
}

func newSoak(t *testing.T) *soak {
	s := &soak{bench: newBench(t, "file"), srv: s3test.Start(t)}
	dir := pgtest.Dir(t)
	s.repo = "s3://" + s.srv.Bucket(t) + "/prod"
	s.socket, s.spool = dir+"/agent.sock", dir+"/spool"
	s.env = append(s.env, "COVET_REPO="+s.repo, "COVET_S3_ENDPOINT="+s.srv.Endpoint, "S3_REGION=us-east-1", "COVET_WAL_AGENT=")
	s.pg = s.server(map[string]string{"checkpoint_timeout": "60s"})
	bin := pgtest.Bin(t)
	if out, err := exec.Command(filepath.Join(bin, "pgbench"), "-i", "-s", "2", "-q", s.pg.DSN()).CombinedOutput(); err != nil {
		t.Fatalf("pgbench -i: %v\n%s", err, out)
	}
	s.pg.Exec("CREATE TABLE marks (n int)")
	s.marks = &marks{pg: s.pg}
	s.run("backup", "run", "--database-url", s.pg.DSN())
	s.follow()
	ctx, cancel := context.WithCancel(t.Context())
	load := exec.CommandContext(ctx, filepath.Join(bin, "pgbench"), "-n", "-c", "2", "-T", "100000", "-R", "60", s.pg.DSN())
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	s.stopLoad = func() { cancel(); _ = load.Wait() } // killed
	half := soakTime(t) / 2
	s.half = func(what string) { s.phase(what, half) }
	return s
}

// follow makes the standby, by a restore.
func (s *soak) follow() {
	dir := dataDir(s.t)
	s.run("restore", "--to", dir, "--archive", "off", "--immediate")
	if err := os.Rename(dir+"/recovery.signal", dir+"/standby.signal"); err != nil {
		s.t.Fatal(err)
	}
	auto, err := os.OpenFile(dir+"/postgresql.auto.conf", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = auto.WriteString("recovery_target = ''\nrecovery_target_timeline = 'latest'\nhot_standby = on\nwal_retrieve_retry_interval = '1s'\n")
	if err := auto.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.standby = pgtest.At(s.t, dir)
	s.standby.Env = s.env
	s.standby.Run()
}

// spooling is a command of covetctl that has the spool and the agent.
func (s *soak) spooling(args string) string {
	return fmt.Sprintf("COVET_WAL_AGENT=%s COVET_WAL_SPOOL=%s exec %s %s", s.socket, s.spool, s.bin, args)
}

func (s *soak) startAgent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agent = s.command("wal", "agent", "--agent", s.socket, "--spool", s.spool)
	if err := s.agent.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { kill9(s.agent) })
}

// phase lets things happen for a while.
func (s *soak) phase(what string, length time.Duration) {
	s.t.Logf("%s: %s", time.Now().Format(time.TimeOnly), what)
	end := time.Now().Add(length)
	away := min(30*time.Second, length/6)
	outages := []time.Time{end.Add(-length * 7 / 10), end.Add(-length * 4 / 10)}
	step := min(10*time.Second, length/8)
	ctx, cancel := context.WithDeadline(s.t.Context(), end)
	defer cancel()
	var hunts sync.WaitGroup
	hunts.Go(func() { s.hunt(ctx, s.pg, "archiver") })
	hunts.Go(func() { s.hunt(ctx, s.standby, "startup") })
	defer hunts.Wait()
	for n := 1; time.Now().Before(end); n++ {
		s.marks.add(1)
		s.pg.One("SELECT pg_switch_wal()")
		if len(outages) > 0 && time.Now().After(outages[0]) {
			outages = outages[1:]
			s.outages++
			s.srv.Halt()
			s.t.Logf("%s: the S3 server is away for %s", time.Now().Format(time.TimeOnly), away)
			time.AfterFunc(away, func() { s.srv.Resume(s.t) })
		}
		if s.agent != nil && n%12 == 6 {
			kill9(s.agent)
			s.agentKills++
			s.startAgent()
		}
		s.reviveStandby()
		if n%6 == 0 {
			s.report()
		}
		time.Sleep(min(step, time.Until(end)))
	}
	time.Sleep(away) // no outage outlasts its phase
}

// hunt kills a child of a server's process, the archiver's or the startup's, at a random moment of its life, now and then.
func (s *soak) hunt(ctx context.Context, pg *pgtest.Cluster, process string) {
	for ctx.Err() == nil {
		pause := min(20*time.Second, soakTime(s.t)/20)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		for ctx.Err() == nil {
			if pid := childOf(pg, process); pid > 0 && !s.starting.Load() {
				time.Sleep(rand.N(40 * time.Millisecond))
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					s.kills.Add(1)
				}
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// childOf is a process that a server's process has started; 0 without one.
func childOf(pg *pgtest.Cluster, process string) int {
	text, err := os.ReadFile(pg.Dir + "/postmaster.pid")
	if err != nil {
		return 0
	}
	master, _, _ := strings.Cut(string(text), "\n")
	for _, pid := range children(master) {
		title, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil || !strings.Contains(string(title), process) {
			continue
		}
		for _, child := range children(pid) {
			n, _ := strconv.Atoi(child)
			return n
		}
	}
	return 0
}

func children(pid string) []string {
	text, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children") // none where it has ended
	return strings.Fields(string(text))
}

// reviveStandby starts the standby where PostgreSQL has ended it: it does where its restore_command is killed.
func (s *soak) reviveStandby() {
	if _, err := os.Stat(s.standby.Dir + "/postmaster.pid"); err == nil {
		return
	}
	s.restarts++
	s.starting.Store(true)
	s.standby.Run()
	s.starting.Store(false)
}

// report says how it goes.
func (s *soak) report() {
	rss := ""
	if s.agent != nil {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.agent.Process.Pid))
		for line := range strings.Lines(string(status)) {
			if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				rss = strings.TrimSpace(value)
			}
		}
	}
	files, bytes := 0, int64(0)
	_ = filepath.WalkDir(s.spool, func(_ string, d os.DirEntry, err error) error { // none yet in the first half
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				files, bytes = files+1, bytes+info.Size()
			}
		}
		return nil
	})
	s.t.Logf("%s: archived and failed: %s; killed %d, the agent %d times; standby started anew %d times; agent's RSS %s; spool %d files, %d bytes",
		time.Now().Format(time.TimeOnly), s.pg.One("SELECT archived_count || ' ' || failed_count FROM pg_stat_archiver"),
		s.kills.Load(), s.agentKills, s.restarts, rss, files, bytes)
}

// settle lets everything arrive where it should.
func (s *soak) settle() {
	s.marks.add(1)
	s.flushWAL(s.pg)
	pgtest.Within(s.t, 3*time.Minute, "the spool is empty", func() bool {
		out, _, _ := s.try("wal", "status", "--agent", s.socket, "--spool", s.spool, "-o", "json")
		return strings.Contains(out, `"files": 0`) || strings.Contains(out, `"files":0`)
	})
	pgtest.Within(s.t, 3*time.Minute, "the standby has every mark", func() bool {
		s.reviveStandby()
		return s.standby.One("SELECT count(*) FROM marks") == strconv.Itoa(len(s.marks.all))
	})
	s.report()
}

// judge compares what there is with what should be.
func (s *soak) judge() {
	for _, query := range []string{
		"SELECT string_agg(n::text, ' ' ORDER BY n) FROM marks",
		"SELECT count(*) || ' ' || sum(delta) FROM pgbench_history", "SELECT sum(abalance) FROM pgbench_accounts",
	} {
		if have, want := s.standby.One(query), s.pg.One(query); have != want {
			s.t.Errorf("%s: the standby has %s, the server %s", query, have, want)
		}
	}
	s.standby.Stop("immediate")
	if out := s.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		s.t.Errorf("gaps: %s", out)
	}
	s.run("backup", "verify")
	s.sameSegments()
	k := s.marks.all[rand.IntN(len(s.marks.all)-1)]
	exactly(s.t, s.restored(nil, "--target-time", k.time.Format(time.RFC3339Nano)), k.n)
	if s.kills.Load() == 0 || s.outages == 0 {
		s.t.Errorf("%d kills and %d outages", s.kills.Load(), s.outages)
	}
}

// sameSegments checks that every segment up to the server's is there once, and that nothing else is.
func (s *soak) sameSegments() {
	s.t.Helper()
	last := s.pg.One("SELECT last_archived_wal FROM pg_stat_archiver")
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.repo, "s3://"), "/")
	pgtest.Eventually(s.t, last+" has left the spool", func() bool {
		there, err := filepath.Glob(s.srv.Path(bucket, prefix) + "/orders/*/wal/00000001/" + last)
		return err == nil && len(there) > 0
	})
	files, err := filepath.Glob(s.srv.Path(bucket, prefix) + "/orders/*/wal/00000001/0*")
	if err != nil {
		s.t.Fatal(err)
	}
	for i, path := range files {
		files[i] = filepath.Base(path)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return len(name) != 24 })
	first, err1 := backup.ParseSegment(files[0], 16<<20)
	end, err2 := backup.ParseSegment(last, 16<<20)
	if err1 != nil || err2 != nil {
		s.t.Fatal(err1, err2)
	}
	if want := int(end.No-first.No) + 1; len(files) < want { // another may have come meanwhile
		s.t.Errorf("%d segments from %s to %s, want %d to %s", len(files), files[0], files[len(files)-1], want, last)
	}
	s.t.Logf("%d segments", len(files))
}
