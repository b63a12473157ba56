package backupcmd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/covetpy/covet/ops/restore"
	pgtest "github.com/covetpy/covet/test/pg"
)

// interrupted kills a plain restore to a mark in its midst, and returns the directory and its record.
func (s *scene) interrupted(t *testing.T, b *bench, args ...string) (string, *restore.Operation) {
	t.Helper()
	for range 10 { // a quick one may end before it is killed
		dir := dataDir(t)
		cmd := b.command(append([]string{"restore", "--to", dir, "--workers", "1", "--archive", "off"}, args...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pgtest.Eventually(t, "the copy has begun", func() bool {
			_, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
			return err == nil
		})
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		o, err := restore.Beside(dir)
		if err != nil {
			t.Fatal(err)
		}
		if o != nil && !o.Finished() && o.Step("copy").State == restore.Doing {
			return dir, o
		}
	}
	t.Fatal("no restore could be killed before it had finished")
	return "", nil
}

// records: a plain restore that was killed leaves beside its directory what it is, how far it came and how to go on.
func (s *scene) records(t *testing.T) {
	b := s.bench.on(t)
	b.env = append(b.env, "XDG_STATE_HOME="+pgtest.Dir(t))
	target := []string{"--backup", s.second.ID, "--target-xid", s.marks.all[5].xid}
	dir, o := s.interrupted(t, b, target...)
	if o.Backup != s.second.ID || o.Target == "" || o.Reaches == nil || len(o.Steps) != 2 {
		t.Errorf("the record is %+v", o)
	}
	for _, args := range [][]string{{"restore", "status"}, {"restore", "status", "--to", dir}, {"restore", "status", o.ID}} {
		if out := b.run(args...); !strings.Contains(out, o.ID) || !strings.Contains(out, "interrupted at: copy backup") || strings.Contains(out, " running ") || !strings.Contains(out, "covetctl restore resume "+o.ID) {
			t.Errorf("%v says: %s", args, out)
		}
	}
	// Another target into the same directory is another restore: it is not taken for the same.
	if _, errs, code := b.try("restore", "--to", dir); code != 7 || !strings.Contains(errs, o.ID) || !strings.Contains(errs, "restore resume") {
		t.Errorf("another restore: exit %d, %s", code, errs)
	}
	// Another person, whose home knows nothing of it, goes on from what lies beside the directory.
	other := *b
	other.env = append(append([]string{}, b.env...), "XDG_STATE_HOME="+pgtest.Dir(t))
	s.expired(t, &other, dir, o)
	if out := other.run("restore", "resume", "--to", dir); !strings.Contains(out, "done") || !strings.Contains(out, "start PostgreSQL in "+dir+" by ") {
		t.Errorf("resume: %s", out)
	}
	pg := pgtest.At(t, dir)
	pg.Env = b.env
	pg.Run()
	pgtest.Eventually(t, "recovery ends", func() bool { return pg.One("SELECT pg_is_in_recovery()") == "false" })
	exactly(t, pg, 6)
	if _, errs, code := other.try("restore", "resume", o.ID); code != 1 || !strings.Contains(errs, "finished") {
		t.Errorf("once more: exit %d, %s", code, errs)
	}
}

// expired: a backup that has expired between the plan of a restore and its beginning is missed before anything is touched.
func (s *scene) expired(t *testing.T, b *bench, dir string, o *restore.Operation) {
	t.Helper()
	beside := dir + ".covet-restore.json"
	record, err := os.ReadFile(beside)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.ReplaceAll(string(record), o.Backup, "20260101T000000Z-gone"))
	if _, errs, code := b.try("restore", "resume", "--to", dir); code == 0 || !strings.Contains(errs, "20260101T000000Z-gone has expired since this was planned; nothing was touched") {
		t.Errorf("exit %d, %s", code, errs)
	}
	write(string(record))
}

// sameAgain: the same command goes on with what it had decided, and --delta begins anew.
func (s *scene) sameAgain(t *testing.T) {
	b := s.bench.on(t)
	b.env = append(b.env, "XDG_STATE_HOME="+pgtest.Dir(t))
	dir, o := s.interrupted(t, b)
	var p struct{ Restore string }
	b.runJSON(&p, "restore", "--to", dir, "--archive", "off")
	if p.Restore != o.ID {
		t.Errorf("the same command was restore %s, and is %s", o.ID, p.Restore)
	}
	dir, o = s.interrupted(t, b)
	b.runJSON(&p, "restore", "--to", dir, "--archive", "off", "--immediate", "--delta")
	var all []restore.Operation
	if err := json.Unmarshal([]byte(b.run("restore", "status", "--all", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.ID == o.ID && !one.Dropped || one.ID == p.Restore && (one.Dropped || !one.Finished()) {
			t.Errorf("restore %s is %s", one.ID, one.Describe())
		}
	}
	// What was restored and moved away since isn't taken for restored.
	dir, _ = s.interrupted(t, b)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	b.runJSON(&p, "restore", "--to", dir, "--archive", "off")
	if _, err := os.Stat(filepath.Join(dir, "global", "pg_control")); err != nil {
		t.Error(err)
	}
}

// twoAtOnce: of two who restore into one directory, one is told that the other is at it.
func (s *scene) twoAtOnce(t *testing.T) {
	b := s.bench.on(t)
	dir := dataDir(t)
	release, err := restore.Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, dir)
	if _, errs, code := b.try("restore", "--to", dir); code != 7 || !strings.Contains(errs, restore.ErrAtWork.Error()) {
		t.Errorf("exit %d, %s", code, errs)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	b.run("restore", "--to", dir)
}
