package backupcmd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// background starts covetctl, to be killed at the end at the latest.
func (b *bench) background(args ...string) *exec.Cmd {
	b.t.Helper()
	cmd := b.command(args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { kill9(cmd) })
	return cmd
}

// kill9 kills a process that may have ended.
func kill9(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
}

type walState struct {
	Agent struct{ Running bool }
	Spool *struct {
		Files   int
		Fault   string
		Refused []string
	}
}

func (b *bench) walState() (st walState) {
	b.t.Helper()
	out, errs, _ := b.try("wal", "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		b.t.Fatalf("wal status: %v %s%s", err, out, errs)
	}
	return st
}

// Archiving through an agent that is killed and comes back, with a spool while the repository is away: PostgreSQL never
// waits, wal status tells what is at risk, and in the end everything is in the repository.
func TestAgentAndSpool(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	srv := s3test.Start(t)
	var away atomic.Bool
	proxy := s3test.StartProxy(t, srv, func(int64, *http.Request) s3test.Fault {
		if away.Load() {
			return s3test.Fail503
		}
		return s3test.Pass
	})
	dir := pgtest.Dir(t)
	b.env = append(b.env, "COVET_REPO=s3://"+srv.Bucket(t), "COVET_S3_ENDPOINT="+proxy.Endpoint, "S3_REGION=us-east-1",
		"COVET_WAL_AGENT="+dir+"/agent.sock", "COVET_WAL_SPOOL="+dir+"/spool")
	agent := b.background("wal", "agent")
	pgtest.Eventually(t, "the agent listens", func() bool { return b.walState().Agent.Running })
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	m.add(1)
	b.run("backup", "run", "--database-url", pg.DSN())
	away.Store(true)
	for range 3 {
		m.add(1)
		b.flushWAL(pg)
	}
	if st := b.walState(); st.Spool.Files < 3 {
		t.Errorf("while the repository is away the spool has %d files", st.Spool.Files)
	}
	kill9(agent)
	m.add(1)
	b.flushWAL(pg)
	if st := b.walState(); st.Agent.Running || st.Spool.Files < 4 {
		t.Errorf("without the agent: %+v", st)
	}
	away.Store(false)
	b.background("wal", "agent")
	m.add(1)
	b.flushWAL(pg)
	pgtest.Eventually(t, "the spool is empty", func() bool { return b.walState().Spool.Files == 0 })
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	exactly(t, b.restored(nil), len(m.all))
}

// A primary dies under load and its replica takes over; both archive into the same place. The log is whole, and the
// replica's history is what is restored; what only the dead primary had can be restored on its timeline.
func TestFailover(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	m.add(2)
	b.run("backup", "run", "--database-url", pg.DSN())
	replica := pgtest.Follow(t, pg, nil)
	replica.Stop("fast")
	replica.Env = b.env
	replica.Run()
	m.add(3)
	b.flushWAL(pg)
	m.add(2)
	end := pg.One("SELECT pg_current_wal_insert_lsn()") // the last mark's restore point, too, which is no row and waits for nobody to write it
	pgtest.Eventually(t, "the replica has it all", func() bool {
		return replica.One("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", end) == "true"
	})
	pg.Kill()
	replica.Promote()
	pgtest.Eventually(t, "the replica is the primary", func() bool { return replica.One("SELECT pg_is_in_recovery()") == "false" })
	after := &marks{pg: replica, all: m.all}
	after.add(3)
	b.flushWAL(replica)
	after.add(1)
	b.flushWAL(replica)
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	exactly(t, b.restored(nil), len(after.all))
	exactly(t, b.restored(nil, "--target-name", after.all[6].name), 7)
	partial := filepath.Join(strings.TrimPrefix(b.repo, "file://"), "orders", "*", "wal", "00000001", "*.partial")
	if files, err := filepath.Glob(partial); err != nil || len(files) != 1 {
		t.Errorf("the end of the first timeline: %v %v", files, err)
	}
	// The dead primary comes back by mistake and goes on where it was: its own timeline, nothing overwritten.
	pg.Run()
	pg.Exec("INSERT INTO marks VALUES (1000)")
	b.flushWAL(pg)
	exactly(t, b.restored(nil), len(after.all))
}

// wal receive goes from a primary that is lost to the replica that takes over, though it has another slot to make there
// and nobody archives: nothing that both had is missing.
func TestReceiveThroughPromotion(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"wal_keep_size": "512MB"}})
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	replica := pgtest.Follow(t, pg, map[string]string{"wal_keep_size": "512MB"})
	dsn := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", pg.Port, replica.Port)
	b.background("wal", "receive", "--every", "100ms", "--database-url", dsn)
	active := func(c *pgtest.Cluster) func() bool {
		return func() bool {
			return c.One("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'covet' AND active") == "1"
		}
	}
	pgtest.Eventually(t, "the slot is in use", active(pg))
	m.add(2)
	b.run("backup", "run", "--database-url", pg.DSN())
	pg.Exec("SELECT pg_switch_wal()")
	m.add(2)
	pgtest.Eventually(t, "the replica has it all", func() bool {
		return replica.One("SELECT count(*) FROM marks") == fmt.Sprint(len(m.all))
	})
	pg.Kill()
	replica.Promote()
	pgtest.Eventually(t, "the receiver is on the new primary", active(replica))
	after := &marks{pg: replica, all: m.all}
	after.add(2)
	replica.Exec("SELECT pg_switch_wal()")
	after.add(1)
	live := filepath.Join(strings.TrimPrefix(b.repo, "file://"), "orders", "*", "wal", "00000002", "*.live-*")
	pgtest.Eventually(t, "all that was written has been received", func() bool { return reached(t, live, replica.One("SELECT pg_current_wal_flush_lsn()")) })
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
	exactly(t, b.restored(nil), len(after.all))
	exactly(t, b.restored(nil, "--target-name", after.all[4].name), 5)
}

// A replica that wal receive streams from is promoted under it: it goes on on the next timeline over the same connection,
// and commits can wait for what it has stored.
func TestReceiveFromReplica(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := pgtest.Start(t, pgtest.Options{})
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	m.add(1)
	b.run("backup", "run", "--database-url", pg.DSN())
	replica := pgtest.Follow(t, pg, nil)
	b.background("wal", "receive", "--every", "100ms", "--synchronous", "--database-url", replica.DSN())
	pgtest.Eventually(t, "the slot is in use", func() bool {
		return replica.One("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'covet' AND active") == "1"
	})
	m.add(2)
	pgtest.Eventually(t, "the replica has it all", func() bool { return replica.One("SELECT count(*) FROM marks") == "3" })
	pg.Kill()
	replica.Promote()
	pgtest.Eventually(t, "it is the primary", func() bool { return replica.One("SELECT pg_is_in_recovery()") == "false" })
	replica.Exec("ALTER SYSTEM SET synchronous_standby_names = 'covet'", "SELECT pg_reload_conf()")
	pgtest.Eventually(t, "commits wait for the receiver", func() bool {
		return replica.One("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
	})
	after := &marks{pg: replica, all: m.all}
	after.add(3) // each returns when it is in the repository
	replica.Kill()
	exactly(t, b.restored(nil), len(after.all))
}
