package backupcmd_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pgtest "github.com/covetpy/covet/test/pg"
)

// objectKind is one kind of object in a repository. What a restore needs may fail it, but not lead it astray; of the rest nothing may keep
// it from being made.
type objectKind struct {
	name, pattern string // below the service's folder
	needed        bool   // by a restore
	told          bool   // verify finds every flipped bit, as there is a checksum over all
}

var objectKinds = []objectKind{
	{"manifest", "*/backups/*/manifest", true, true},
	{"pack", "*/packs/*", true, true},
	{"segment", "*/wal/0000000[12]/????????????????????????", true, false},
	{"part of a segment", "*/wal/00000002/*.live-*", true, false},
	{"history", "*/wal/00000002.history", true, false},
	{"label", "*/wal/00000001/*.backup", false, false},
	{"manifest of a dump", "*/logical/backups/*/manifest", false, true},
	{"pack of a dump", "*/logical/packs/*", false, true},
	{"result of a drill", "*/drills/*", false, false},
	{"verification", "*/verified/*/*", false, false},
	{"run of the schedule", "runs/*/*", false, false},
}

// One flipped bit in any object: a restore brings back exactly what was committed or fails, and verify says where it is.
func TestABitFlippedAnywhere(t *testing.T) {
	t.Parallel()
	b := newBench(t, "file")
	want := b.everyKind()
	root := strings.TrimPrefix(b.repo, "file://")
	noticed := map[string]int{}
	for _, k := range objectKinds {
		files, err := filepath.Glob(filepath.Join(root, "orders", k.pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("the repository has no %s: %v", k.name, err)
			continue
		}
		for range times(t, "COVET_FLIPS", 1) {
			file := files[rand.IntN(len(files))]
			c, there := b.copyOf(t, root)
			rel, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			at := flipOneBit(t, filepath.Join(there, rel))
			if c.survives(k, rel, at, want) {
				noticed[k.name]++
			}
		}
	}
	t.Logf("of %d flips each were noticed: %v", times(t, "COVET_FLIPS", 1), noticed)
}

// everyKind fills the repository with objects of every kind, and returns the marks that are there in the end.
func (b *bench) everyKind() string {
	t := b.t
	pg := b.server(nil)
	pg.Exec("CREATE TABLE marks (n int)", "CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n")
	m := &marks{pg: pg}
	for range 2 {
		m.add(2)
		b.run("backup", "run", "--database-url", pg.DSN())
		b.flushWAL(pg)
	}
	pg.Stop("fast")
	dir := dataDir(t)
	b.run("restore", "--to", dir, "--start", "--pg-options", "-c listen_addresses= -k "+filepath.Dir(dir))
	m.pg = pgtest.At(t, dir)
	m.pg.Env = b.env
	m.pg.Stop("fast")
	m.pg.Run()
	m.add(1)
	b.flushWAL(m.pg)
	receiver := b.background("wal", "receive", "--every", "100ms", "--database-url", m.pg.DSN())
	pgtest.Eventually(t, "the slot is in use", func() bool {
		return m.pg.One("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'covet' AND active") == "1"
	})
	m.add(1)
	live := filepath.Join(strings.TrimPrefix(b.repo, "file://"), "orders", "*", "wal", "00000002", "*.live-*")
	pgtest.Eventually(t, "all that was written has been received", func() bool { return reached(t, live, m.pg.One("SELECT pg_current_wal_flush_lsn()")) })
	kill9(receiver)
	b.run("backup", "run", "--logical", "--database-url", m.pg.DSN())
	b.run("restore", "drill")
	b.run("backup", "verify")
	b.run("backup", "schedule", "run", "verify", "--now")
	m.pg.Stop("immediate")
	all := b.marksIn(b.restored(nil))
	if all != "1 2 3 4 5 6" {
		t.Fatalf("an unhurt repository leads to the marks %s", all)
	}
	return all
}

func (b *bench) marksIn(pg *pgtest.Cluster) string {
	b.t.Helper()
	defer pg.Stop("immediate")
	return pg.One("SELECT string_agg(n::text, ' ' ORDER BY n) || CASE count(*) WHEN count(DISTINCT n) THEN '' ELSE ' twice' END FROM marks")
}

// copyOf is the bench on a copy of a repository.
func (b *bench) copyOf(t *testing.T, root string) (*bench, string) {
	t.Helper()
	to := filepath.Join(pgtest.Dir(t), "repo")
	if out, err := pgtest.Command(t, "cp", "-a", root, to).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	c := *b
	c.t, c.repo = t, "file://"+to
	c.env = append(append([]string{}, b.env...), "COVET_REPO="+c.repo)
	return &c, to
}

// flipOneBit flips one bit of a file, and returns which.
func flipOneBit(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := rand.IntN(len(data) * 8)
	data[at/8] ^= 1 << (at % 8)
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	return at
}

// survives checks what becomes of a repository with one bit flipped, and returns whether verify noticed.
func (b *bench) survives(k objectKind, file string, bit int, want string) (noticed bool) {
	t := b.t
	t.Helper()
	_, errs, code := b.try("backup", "verify")
	noticed = code == 5
	if code != 0 && code != 5 {
		t.Errorf("%s %s, bit %d: verify exits with %d: %s", k.name, file, bit, code, errs)
	}
	if k.told && !noticed {
		t.Errorf("%s %s, bit %d: verify does not notice", k.name, file, bit)
	}
	if out, errs, code := b.try("backup", "list"); code != 0 && (code != 5 || !noticed) {
		t.Errorf("%s %s, bit %d: list exits with %d: %s%s", k.name, file, bit, code, out, errs)
	}
	dir := dataDir(t)
	_, errs, code = b.try("restore", "--to", dir, "--archive", "off", "--start", "--pg-options", "-c listen_addresses= -k "+filepath.Dir(dir))
	switch {
	case code == 0:
		pg := pgtest.At(t, dir)
		pg.Stop("fast")
		pg.Run()
		if got := b.marksIn(pg); got != want {
			t.Errorf("%s %s, bit %d: a restore that says it is good has the marks %s, want %s", k.name, file, bit, got, want)
		}
	case !k.needed:
		t.Errorf("%s %s, bit %d: a restore exits with %d: %s", k.name, file, bit, code, errs)
	case code != 5 && code != 8 || !strings.Contains(errs, "damaged") && !strings.Contains(errs, "unreadable"):
		t.Errorf("%s %s, bit %d: a restore exits with %d, and says %s", k.name, file, bit, code, errs)
	}
	return noticed
}
