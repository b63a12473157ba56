package backupcmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

// A server that never archived and was lost with all its files is restored with everything that had committed a moment
// before, though the receiver was killed in between; and nothing is left of parts once their segments are whole.
func TestReceive(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	pg := pgtest.Start(t, pgtest.Options{})
	pg.Exec("CREATE TABLE marks (n int)")
	m := &marks{pg: pg}
	live := filepath.Join(strings.TrimPrefix(b.repo, "file://"), "orders", "*", "wal", "00000001", "*.live-*")
	receive := func() (kill func()) {
		cmd := b.command("wal", "receive", "--every", "100ms", "--database-url", pg.DSN())
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killed := false
		kill = func() {
			if !killed {
				killed = true
				_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
				_ = cmd.Wait()
			}
		}
		t.Cleanup(kill)
		return kill
	}
	kill := receive()
	pgtest.Eventually(t, "the slot is in use", func() bool {
		return pg.One("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'covet' AND active") == "1"
	})
	m.add(2)
	b.run("backup", "run", "--database-url", pg.DSN())
	m.add(2)
	kill()
	m.add(1)
	pg.Exec("SELECT pg_switch_wal()", "CHECKPOINT")
	m.add(1)
	pgtest.Eventually(t, "the server has noticed", func() bool {
		return pg.One("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"
	})
	kill = receive()
	m.add(2)
	pgtest.Eventually(t, "all that was written has been received", func() bool { return reached(t, live, pg.One("SELECT pg_current_wal_flush_lsn()")) })
	parts, err := filepath.Glob(live)
	if err != nil || len(parts) != 1 {
		t.Errorf("parts: %v %v", parts, err)
	}
	pg.Stop("immediate")
	kill()
	if err := os.RemoveAll(pg.Dir); err != nil {
		t.Fatal(err)
	}
	exactly(t, b.restored(nil), 8)
	exactly(t, b.restored(nil, "--target-name", "mark-7"), 7)
	if out := b.run("backup", "gaps"); !strings.Contains(out, "no gaps") {
		t.Error(out)
	}
}

// reached says whether the newest live part reaches an LSN.
func reached(t *testing.T, pattern, lsn string) bool {
	t.Helper()
	want, err := backup.ParseLSN(lsn)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		name, length, _ := strings.Cut(filepath.Base(p), ".live-")
		seg, err := backup.ParseSegment(name, 16<<20)
		if err != nil {
			t.Fatal(err)
		}
		var n uint64
		if _, err := fmt.Sscanf(length, "%X", &n); err != nil {
			t.Fatal(err)
		}
		if seg.Start(16<<20)+backup.LSN(n) >= want {
			return true
		}
	}
	return false
}
