package pgwire_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/covetpy/covet/ops/backup"
	pgtest "github.com/covetpy/covet/test/pg"
)

var dumped = regexp.MustCompile(`rmgr: (\w+) .* tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: (COMMIT|ABORT|COMMIT_PREPARED|ABORT_PREPARED|RESTORE_POINT) (\S+)`)

// The marks that are found in a busy server's log are those that pg_waldump finds.
func TestScanSegmentAgreesWithPgWaldump(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "5", "wal_keep_size": "1GB"}})
	bin := pgtest.Bin(t)
	first := pg.One("SELECT pg_walfile_name(pg_current_wal_lsn())")
	if out, err := exec.Command(filepath.Join(bin, "pgbench"), "-i", "-s", "2", "-q", pg.DSN()).CombinedOutput(); err != nil {
		t.Fatalf("pgbench -i: %v\n%s", err, out)
	}
	if out, err := exec.Command(filepath.Join(bin, "pgbench"), "-c", "4", "-t", "1500", pg.DSN()).CombinedOutput(); err != nil {
		t.Fatalf("pgbench: %v\n%s", err, out)
	}
	pg.Exec("SELECT pg_create_restore_point('here')", "BEGIN; INSERT INTO pgbench_history VALUES (1); PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'",
		"BEGIN; INSERT INTO pgbench_history VALUES (2); ROLLBACK", "SELECT pg_create_restore_point('there')", "SELECT pg_switch_wal()", "CHECKPOINT")
	seg, err := backup.ParseSegment(first, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	last, err := backup.ParseSegment(pg.One("SELECT pg_walfile_name(pg_current_wal_lsn())"), 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for ; seg.No < last.No; seg.No++ {
		total += compareWithDump(t, pg, seg)
	}
	if total < 6000 {
		t.Errorf("only %d marks compared", total)
	}
}

func compareWithDump(t *testing.T, pg *pgtest.Cluster, seg backup.Segment) int {
	t.Helper()
	read := func(s backup.Segment) []byte {
		b, err := os.ReadFile(filepath.Join(pg.Dir, "pg_wal", s.Name(16<<20)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got := backup.ScanSegment(read(seg), read(backup.Segment{Timeline: 1, No: seg.No + 1}))
	out, err := exec.Command(filepath.Join(pgtest.Bin(t), "pg_waldump"), "-p", filepath.Join(pg.Dir, "pg_wal"),
		"-s", seg.Start(16<<20).String(), "-e", seg.End(16<<20).String()).Output()
	if err != nil {
		t.Fatalf("pg_waldump: %v", err)
	}
	want := dumped.FindAllStringSubmatch(string(out), -1)
	if len(want) != len(got.Marks) {
		t.Fatalf("segment %d: %d marks, pg_waldump has %d", seg.No, len(got.Marks), len(want))
	}
	for i, w := range want {
		m := got.Marks[i]
		lsn, err := backup.ParseLSN(w[3])
		if err != nil {
			t.Fatal(err)
		}
		kind := map[string]backup.MarkKind{"COMMIT": backup.MarkCommit, "ABORT": backup.MarkAbort, "COMMIT_PREPARED": backup.MarkCommit, "ABORT_PREPARED": backup.MarkAbort, "RESTORE_POINT": backup.MarkRestorePoint}[w[4]]
		if m.LSN != lsn || m.Kind != kind || kind == backup.MarkRestorePoint && m.Name != strings.TrimSuffix(w[5], ";") {
			t.Fatalf("segment %d, mark %d: %+v, pg_waldump: %v", seg.No, i, m, w)
		}
		if kind == backup.MarkCommit && w[4] == "COMMIT" && w[5] != m.Time.Format("2006-01-02") {
			t.Errorf("mark %d is of %s, pg_waldump: %v", i, m.Time, w)
		}
	}
	return len(want)
}
