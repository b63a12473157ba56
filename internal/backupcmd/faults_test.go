package backupcmd_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	disktest "github.com/covetpy/covet/test/disk"
	pgtest "github.com/covetpy/covet/test/pg"
)

// scene is a file repository with two backups and WAL behind them, to be damaged in copies.
type scene struct {
	*bench
	pg            *pgtest.Cluster
	first, second backup.Head
	marks         *marks
	root          string // of the repository
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{bench: newBench(t, "file")}
	s.root = strings.TrimPrefix(s.repo, "file://")
	s.pg = s.server(nil)
	s.pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n")
	s.marks = &marks{pg: s.pg}
	s.marks.add(2)
	s.runJSON(&s.first, "backup", "run", "--database-url", s.pg.DSN())
	for range 3 {
		s.marks.add(1)
		s.flushWAL(s.pg)
	}
	s.runJSON(&s.second, "backup", "run", "--database-url", s.pg.DSN())
	s.marks.add(2)
	s.flushWAL(s.pg)
	return s
}

// copy returns a bench on a copy of the scene's repository.
func (s *scene) copy(t *testing.T) (*bench, string) {
	t.Helper()
	return s.copyOf(t, s.root)
}

// dataDir is a directory that a restore may make.
func dataDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(pgtest.Dir(t), "data")
}

// absent checks that a refused restore has touched nothing.
func absent(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made by a restore that was refused", dir)
	}
}

func flipBits(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v %v", pattern, files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 { // a single bit may be one of those that mean nothing in a compressed frame
		data[len(data)/2+i] ^= 4
	}
	if err := os.WriteFile(files[0], data, 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	t.Run("flipped bits in a pack", s.flippedPack)
	t.Run("flipped bits in a manifest", s.flippedManifest)
	t.Run("flipped bits in the WAL", s.flippedWAL)
	t.Run("a missing WAL segment", s.missingWAL)
	t.Run("a WAL segment in the spool", s.spooledWAL)
	t.Run("targets that can't be reached", s.unreachable)
	t.Run("expire", s.expire)
	t.Run("an occupied directory, and delta", s.delta)
	t.Run("kill -9 of a restore", s.killRestore)
	t.Run("the record of an interrupted restore", s.records)
	t.Run("the same restore again", s.sameAgain)
	t.Run("two restores at once", s.twoAtOnce)
	t.Run("kill -9 of a backup", s.killBackup)
	t.Run("push and fetch", s.pushAndFetch)
}

func (s *scene) flippedPack(t *testing.T) {
	b, root := s.copy(t)
	b.run("backup", "verify")
	flipBits(t, root+"/orders/*/packs/"+s.first.ID+"-0001")
	_, errs, code := b.try("backup", "verify")
	if code != 5 || !strings.Contains(errs, s.first.ID+" is damaged") || !strings.Contains(errs, s.second.ID+" is damaged") {
		t.Errorf("verify: exit %d, %s", code, errs)
	}
	dir := dataDir(t)
	_, errs, code = b.try("restore", "--to", dir)
	if code != 8 || !strings.Contains(errs, "damaged") {
		t.Errorf("restore: exit %d, %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "global", "pg_control")); err == nil {
		t.Error("a restore that failed left something that PostgreSQL would start")
	}
}

func (s *scene) flippedManifest(t *testing.T) {
	b, root := s.copy(t)
	flipBits(t, root+"/orders/*/backups/"+s.second.ID+"/manifest")
	dir := dataDir(t)
	if _, errs, code := b.try("restore", "--to", dir); code != 5 || !strings.Contains(errs, "damaged") {
		t.Errorf("restore: exit %d, %s", code, errs)
	}
	absent(t, dir)
	if _, errs, code := b.try("backup", "verify"); code != 5 || !strings.Contains(errs, s.second.ID) {
		t.Errorf("verify: exit %d, %s", code, errs)
	}
	// The older backup is untouched, and leads to the same place.
	pg := b.on(t).restored(nil, "--backup", s.first.ID)
	exactly(t, pg, len(s.marks.all))
}

// on is the bench for a subtest.
func (b *bench) on(t *testing.T) *bench {
	c := *b
	c.t = t
	return &c
}

// walFile is the repository's file of the segment that holds a mark.
func (s *scene) walFile(root string, m mark) string {
	lsn, err := backup.ParseLSN(m.lsn)
	if err != nil {
		panic(err)
	}
	name := backup.SegmentAt(1, lsn-1, 16<<20).Name(16 << 20)
	return filepath.Join(root, "orders", s.first.System.String(), "wal", "00000001", name)
}

func (s *scene) flippedWAL(t *testing.T) {
	b, root := s.copy(t)
	object, dir := s.walFile(root, s.marks.all[3]), dataDir(t)
	server := filepath.Join(pgtest.Dir(t), filepath.Base(object)) // the segment as the server may have it still
	b.run("wal", "fetch", filepath.Base(object), server, "--system", s.first.System.String())
	flipBits(t, object)
	_, errs, code := b.try("restore", "--to", dir, "--backup", s.first.ID, "--target-name", "mark-5")
	if code != 5 || !strings.Contains(errs, "damaged") {
		t.Errorf("restore: exit %d, %s", code, errs)
	}
	absent(t, dir)
	if _, errs, code := b.try("backup", "verify"); code != 5 || !strings.Contains(errs, "covetctl wal push") {
		t.Errorf("verify: exit %d, and no word of how to mend it: %s", code, errs)
	}
	b.run("wal", "push", server)
	b.run("backup", "verify")
	exactly(t, b.on(t).restored(nil, "--backup", s.first.ID, "--target-name", "mark-5"), 5)
}

func (s *scene) missingWAL(t *testing.T) {
	b, root := s.copy(t)
	gone := s.walFile(root, s.marks.all[3])
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(gone)
	dir := dataDir(t)
	for _, target := range [][]string{{"--target-name", "mark-5"}, {"--target-xid", s.marks.all[4].xid}, {"--target-lsn", s.marks.all[4].lsn}, {"--backup", s.first.ID}} {
		_, errs, code := b.try(append([]string{"restore", "--to", dir}, target...)...)
		if code != 5 || !strings.Contains(errs, name) || !strings.Contains(errs, "--target-xid "+s.marks.all[2].xid) {
			t.Errorf("%v: exit %d, want the segment %s and transaction %s named: %s", target, code, name, s.marks.all[2].xid, errs)
		}
	}
	absent(t, dir)
	if out, _, code := b.try("backup", "gaps"); code != 5 || !strings.Contains(out, name) {
		t.Errorf("gaps: exit %d, %s", code, out)
	}
	// What the error named can be reached, and the newer backup doesn't care.
	exactly(t, b.on(t).restored(nil, "--target-xid", s.marks.all[2].xid), 3)
	exactly(t, b.on(t).restored(nil), len(s.marks.all))
}

// What isn't in the repository but waits in the spool is no gap.
func (s *scene) spooledWAL(t *testing.T) {
	b, root := s.copy(t)
	from := s.walFile(root, s.marks.all[3])
	spool := filepath.Join(pgtest.Dir(t), "spool")
	to := filepath.Join(spool, "orders", s.first.System.String())
	if out, err := pgtest.Command(t, "sh", "-c", "mkdir -p "+to+" && mv "+from+" "+to).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	name := filepath.Base(from)
	if out, _, code := b.try("backup", "gaps"); code != 5 || !strings.Contains(out, "MISSING") {
		t.Errorf("without the spool: exit %d, %s", code, out)
	}
	if out := b.run("backup", "gaps", "--spool", spool); !strings.Contains(out, name) || !strings.Contains(out, "on its way") || strings.Contains(out, "MISSING") {
		t.Errorf("with it: %s", out)
	}
	next := s.walFile(root, s.marks.all[4])
	if err := os.Remove(next); err != nil {
		t.Fatal(err)
	}
	var gaps []struct {
		First   string
		Spooled bool `json:"in_spool"`
	}
	out, _, code := b.try("backup", "gaps", "--spool", spool, "-o", "json")
	if err := json.Unmarshal([]byte(out), &gaps); err != nil || code != 5 || len(gaps) != 2 || !gaps[0].Spooled || gaps[1].Spooled || gaps[1].First != filepath.Base(next) {
		t.Errorf("with the next one gone: exit %d, %v, %s", code, err, out)
	}
	b.run("wal", "drain", "--spool", spool)
	if out, _, code := b.try("backup", "gaps", "--spool", spool); code != 5 || strings.Contains(out, name) {
		t.Errorf("once it is drained: exit %d, %s", code, out)
	}
}

func (s *scene) unreachable(t *testing.T) {
	b := s.bench.on(t)
	dir := dataDir(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--target-time", "2001-01-01 00:00:00Z"}, 5, s.first.ID + " --immediate"},
		{[]string{"--target-time", time.Now().Add(time.Hour).Format(time.RFC3339)}, 5, "nearest reachable point is transaction " + s.marks.all[len(s.marks.all)-1].xid},
		{[]string{"--target-lsn", "FF/0"}, 5, "nearest"}, {[]string{"--target-lsn", "0/28"}, 5, "--immediate"},
		{[]string{"--target-xid", "4000000"}, 5, "nearest"}, {[]string{"--target-name", "nobody made this"}, 5, "nearest"},
		{[]string{"--timeline", "7"}, 5, "timeline 7"}, {[]string{"--backup", "unknown"}, 5, "no backup unknown"},
		{[]string{"--target-lsn", "x"}, 2, "not an LSN"}, {[]string{"--target-time", "yesterday"}, 2, "yesterday"},
		{[]string{"--service", "other"}, 5, "no backup of service other"}, {[]string{"--repo", "ftp://x"}, 2, "s3://"},
		{[]string{"--immediate", "--target-xid", "3"}, 2, ""},
	} {
		_, errs, code := b.try(append([]string{"restore", "--to", dir}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit %d, want %d and %q in: %s", c.args, code, c.code, c.says, errs)
		}
	}
	absent(t, dir)
}

func (s *scene) expire(t *testing.T) {
	b, _ := s.copy(t)
	if _, errs, code := b.try("backup", "expire"); code != 2 || !strings.Contains(errs, "say what to keep") {
		t.Errorf("without a policy: exit %d, %s", code, errs)
	}
	var plan, done backup.Expiry
	b.runJSON(&plan, "backup", "expire", "--keep", "1", "--plan")
	var heads []backup.Head
	if b.runJSON(&heads, "backup", "list"); len(heads) != 2 {
		t.Fatalf("after --plan there are %d backups", len(heads))
	}
	if out, code := b.typing("orders!", "backup", "expire", "--keep", "1"); code != 2 || !strings.Contains(out, "nothing was removed") || !strings.Contains(out, s.first.ID) {
		t.Errorf("a wrong answer: exit %d, %s", code, out)
	}
	if b.runJSON(&heads, "backup", "list"); len(heads) != 2 {
		t.Fatalf("after a wrong answer there are %d backups", len(heads))
	}
	other, _ := s.copy(t)
	if out, code := other.typing("orders", "backup", "expire", "--keep", "1"); code != 0 || !strings.Contains(out, "would remove") {
		t.Errorf("the right answer: exit %d, %s", code, out)
	}
	if other.runJSON(&heads, "backup", "list"); len(heads) != 1 {
		t.Errorf("after the right answer there are %d backups", len(heads))
	}
	b.runJSON(&done, "backup", "expire", "--keep", "1")
	if b.runJSON(&heads, "backup", "list"); len(heads) != 1 || heads[0].ID != s.second.ID {
		t.Errorf("left: %+v", heads)
	}
	if done.WAL == 0 || done.WAL != plan.WAL || len(done.Packs) != len(plan.Packs) {
		t.Errorf("removed %d WAL files and %d packs, planned %d and %d", done.WAL, len(done.Packs), plan.WAL, len(plan.Packs))
	}
	b.run("backup", "verify")
	exactly(t, b.on(t).restored(nil), len(s.marks.all))
}

func (s *scene) delta(t *testing.T) {
	b := s.bench.on(t)
	dir := dataDir(t)
	b.run("restore", "--to", dir)
	_, errs, code := b.try("restore", "--to", dir)
	if code != 5 || !strings.Contains(errs, "--delta") {
		t.Errorf("into a full directory: exit %d, %s", code, errs)
	}
	file := filepath.Join(dir, s.pg.One("SELECT pg_relation_filepath('filler')"))
	flipBits(t, file)
	stray := filepath.Join(dir, "stray")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var p planned
	b.runJSON(&p, "restore", "--to", dir, "--delta", "--start", "--archive", "off", "--pg-options", "-c listen_addresses= -k "+filepath.Dir(dir))
	if p.Stats.Kept < p.Stats.Written*5 || p.Stats.Written == 0 {
		t.Errorf("delta wrote %d bytes and kept %d", p.Stats.Written, p.Stats.Kept)
	}
	if p.Reached.Timeline != 2 {
		t.Errorf("reached: %+v", p.Reached)
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("a file that isn't the backup's is still there")
	}
	_, errs, code = b.try("restore", "--to", dir, "--delta")
	if code != 5 || !strings.Contains(errs, "running") {
		t.Errorf("into a running server: exit %d, %s", code, errs)
	}
	notes := filepath.Join(pgtest.Dir(t), "notes") // as somebody may name by mistake
	if err := errors.Join(os.Mkdir(notes, 0o755), os.WriteFile(filepath.Join(notes, "note"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, notes)
	if _, errs, code := b.try("restore", "--to", notes, "--delta"); code != 5 || !strings.Contains(errs, "no data directory") {
		t.Errorf("over what is no data directory: exit %d, %s", code, errs)
	}
	if left, err := os.ReadDir(notes); err != nil || len(left) != 1 {
		t.Errorf("which holds %v now, %v", left, err)
	}
	pg := pgtest.At(t, dir)
	pg.Stop("fast")
	pg.Run()
	exactly(t, pg, len(s.marks.all))
}

// interruptedRestore kills a restore somewhere in its midst, and returns the directory.
func (s *scene) interruptedRestore(t *testing.T, b *bench) string {
	t.Helper()
	for range 10 { // a quick one may end before it is killed
		dir := dataDir(t)
		cmd := b.command("restore", "--to", dir, "--workers", "1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pgtest.Eventually(t, "the restore has begun", func() bool {
			_, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
			return err == nil
		})
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if _, err := os.Stat(filepath.Join(dir, "global", "pg_control")); err != nil {
			return dir
		}
	}
	t.Fatal("no restore could be killed before it had finished")
	return ""
}

func (s *scene) killRestore(t *testing.T) {
	b := s.bench.on(t)
	dir := s.interruptedRestore(t, b)
	if out := b.run("restore", "--to", dir, "--plan"); !strings.Contains(out, "interrupted restore") {
		t.Errorf("the plan says nothing of the interruption: %s", out)
	}
	b.run("restore", "--to", dir, "--archive", "off")
	pg := pgtest.At(t, dir)
	pg.Env = b.env
	pg.Run()
	pgtest.Eventually(t, "recovery ends", func() bool { return pg.One("SELECT pg_is_in_recovery()") == "false" })
	exactly(t, pg, len(s.marks.all))
}

func (s *scene) killBackup(t *testing.T) {
	b, root := s.copy(t)
	before, err := filepath.Glob(root + "/orders/*/locks/*") // of restores that were killed
	if err != nil {
		t.Fatal(err)
	}
	cmd := b.command("backup", "run", "--full", "--database-url", s.pg.DSN(), "--max-rate", "4000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the backup writes", func() bool {
		locks, err1 := filepath.Glob(root + "/orders/*/locks/*")
		files, err2 := filepath.Glob(root + "/.tmp/put-*")
		return err1 == nil && err2 == nil && len(locks) > len(before) && len(files) > 0
	})
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	var heads []backup.Head
	if b.runJSON(&heads, "backup", "list"); len(heads) != 2 {
		t.Errorf("there are %d backups after one was killed", len(heads))
	}
	// Nobody can tell yet that it is dead, so no pack goes; the next backup doesn't mind.
	if out := b.run("backup", "expire", "--keep", "5"); !strings.Contains(out, "no packs were removed") {
		t.Errorf("expire beside a killed backup's lock: %s", out)
	}
	var h backup.Head
	b.runJSON(&h, "backup", "run", "--database-url", s.pg.DSN(), "--wait-wal", "0s")
	b.run("backup", "verify", h.ID)
}

func (s *scene) pushAndFetch(t *testing.T) {
	b, root := s.copy(t)
	dir := pgtest.Dir(t)
	name := filepath.Base(s.walFile(root, s.marks.all[3]))
	system := s.first.System.String()
	seg := filepath.Join(dir, name)
	b.run("wal", "fetch", name, seg, "--system", system)
	b.run("wal", "push", seg) // the same bytes: fine
	other := filepath.Join(dir, "other")
	for _, c := range []struct {
		what string
		args []string
		code int
		says string
	}{
		{"not there", []string{"wal", "fetch", "0000000100000000000000EE", other, "--system", system}, 1, "not found"},
		{"no such timeline", []string{"wal", "fetch", "00000009.history", other, "--system", system}, 1, "not found"},
		{"nonsense", []string{"wal", "fetch", "passwd", other, "--system", system}, 205, "not a WAL file"},
		{"nobody answers", []string{"wal", "fetch", name, other, "--system", system, "--repo", "s3://b/p", "--s3-endpoint", "http://127.0.0.1:1", "--s3-attempts", "3"}, 206, "refused"},
		{"foreign", []string{"wal", "push", seg, "--system", "7000000000000000001"}, 5, "belongs to the database system"},
		{"no file", []string{"wal", "push", other}, 5, "no such file"},
	} {
		_, errs, code := b.try(append(c.args, "--s3-region=us-east-1")...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, want %d and %q: %s", c.what, code, c.code, c.says, errs)
		}
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a failed fetch left a file")
	}
	t.Run("full disk", func(t *testing.T) {
		disk := disktest.Small(t, "4m")
		_, errs, code := b.try("wal", "fetch", name, filepath.Join(disk, name), "--system", system)
		if left, err := os.ReadDir(disk); code != 205 || !strings.Contains(errs, "no space left") || err != nil || len(left) > 0 {
			t.Errorf("exit %d, %s; left: %v %v", code, errs, left, err)
		}
	})
	data, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(seg, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := b.try("wal", "push", seg); code != 5 || !strings.Contains(errs, "nothing was overwritten") {
		t.Errorf("other bytes of the same name: exit %d, %s", code, errs)
	}
	if err := os.WriteFile(seg, data[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := b.try("wal", "push", seg); code != 5 || !strings.Contains(errs, "bytes instead of") {
		t.Errorf("half a segment: exit %d, %s", code, errs)
	}
}
