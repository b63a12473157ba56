package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/ops/backup"
)

const testSystem backup.SystemID = 7000000000000000001

// fakeSource is a cluster whose files are in memory. Its WAL is one empty segment.
type fakeSource struct {
	files map[string][]byte
	names []string
	r     *bytes.Reader
	fail  error // instead of the end
	time  time.Time
}

func origin(s *fakeSource) backup.Origin {
	return backup.Origin{System: testSystem, PGVersion: 150000, Time: s.time}
}

func (s *fakeSource) Start(context.Context, *backup.Manifest) (backup.Start, error) {
	s.names = s.names[:0]
	for name := range s.files {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return backup.Start{System: testSystem, PGVersion: 150000, Timeline: 1, LSN: 0x1000028, SegmentSize: 1 << 20, Time: s.time}, nil
}

func (s *fakeSource) Next() (backup.Entry, error) {
	if len(s.names) == 0 {
		if s.fail != nil {
			return backup.Entry{}, s.fail
		}
		return backup.Entry{}, io.EOF
	}
	name := s.names[0]
	s.names = s.names[1:]
	s.r = bytes.NewReader(s.files[name])
	return backup.Entry{File: backup.File{Path: name, Mode: 0o600, Size: int64(len(s.files[name]))}}, nil
}

func (s *fakeSource) Read(p []byte) (int, error) { return s.r.Read(p) }

func (s *fakeSource) Stop() (backup.Stop, error) {
	return backup.Stop{LSN: 0x1000100, Timeline: 1, Time: s.time.Add(time.Second)}, nil
}

func (*fakeSource) Segments(_ context.Context, first, last backup.Segment, sink func(string, []byte) error) error {
	for s := first; s.No <= last.No; s.No++ {
		if err := sink(s.Name(1<<20), backup.EmptySegment(s, testSystem, 1<<20)); err != nil {
			return err
		}
	}
	return nil
}

func (*fakeSource) History(context.Context, backup.Timeline) ([]byte, error) {
	return nil, errors.New("timeline 1 has no history")
}

func openRepository(t *testing.T) backup.Repository {
	t.Helper()
	s, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return backup.Repository{Store: s, Codecs: codec.All(), Where: "file://test"}
}

func runBackup(t *testing.T, r backup.Repository, s *fakeSource) backup.Head {
	t.Helper()
	s.time = s.time.Add(time.Minute)
	h, err := backup.Run(t.Context(), backup.Job{
		Repository: r, Service: "orders", Origin: origin(s), Source: s, WAL: s, Codec: codec.Zstd(1), Workers: 3,
		Warn: func(err error) { t.Errorf("warning: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// readBack returns a backup's files as the repository has them.
func readBack(t *testing.T, r backup.Repository, id string) map[string][]byte {
	t.Helper()
	c := r.Cluster("orders", testSystem)
	m, err := c.Manifest(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	units := map[uint32][]byte{}
	out := map[string][]byte{}
	for _, f := range m.Items {
		data := []byte{}
		for _, e := range f.Extents {
			if units[e.Unit] == nil {
				u := m.Units[e.Unit]
				rc, err := c.OpenPack(t.Context(), m.Packs[u.Pack].Name, int64(u.Off), int64(u.Len))
				if err != nil {
					t.Fatal(err)
				}
				enc, err := io.ReadAll(rc)
				if err := errors.Join(err, rc.Close()); err != nil {
					t.Fatal(err)
				}
				if units[e.Unit], err = c.ReadUnit(m, int(e.Unit), enc, nil); err != nil {
					t.Fatal(err)
				}
			}
			data = append(data, units[e.Unit][e.Off:e.Off+e.Len]...)
		}
		out[f.Path] = data
	}
	return out
}

func equalFiles(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d files instead of %d", len(got), len(want))
	}
	for name, data := range want {
		if !bytes.Equal(got[name], data) {
			t.Errorf("%s: %d bytes came back other than the %d that were backed up", name, len(got[name]), len(data))
		}
	}
}

// Random files of all sizes, changed at random between backups: each backup holds exactly its own state, and stores
// little more than what changed.
func TestEveryBackupIsWhole(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	src := &fakeSource{files: map[string][]byte{}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	fill := func(n int) []byte {
		b := make([]byte, n)
		for i := 0; i < n; i += 4 {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	sizes := []int{0, 1, 8191, 8192, 8193, 100_000, 262_144, 262_145, 3_000_000, 20_000_000}
	for i, n := range sizes {
		src.files[fmt.Sprintf("base/%d", i)] = fill(n)
	}
	for i := range 300 {
		src.files[fmt.Sprintf("tiny/%d", i)] = fill(rnd.IntN(200))
	}
	states := map[string]map[string][]byte{}
	var stored []int64
	for round := range 5 {
		h := runBackup(t, r, src)
		stored = append(stored, h.StoredBytes)
		states[h.ID] = map[string][]byte{}
		for name, b := range src.files {
			states[h.ID][name] = bytes.Clone(b)
		}
		big := src.files["base/9"]
		for range 25 { // 1 % of its pages
			page := rnd.IntN(len(big)/8192) * 8192
			copy(big[page:], fill(100))
		}
		src.files["base/8"] = append(src.files["base/8"], fill(5000)...)
		src.files["base/7"] = src.files["base/7"][:200_000]
		delete(src.files, fmt.Sprintf("tiny/%d", round))
		src.files[fmt.Sprintf("new/%d", round)] = fill(50_000)
	}
	for id, want := range states {
		equalFiles(t, readBack(t, r, id), want)
	}
	for i, n := range stored[1:] {
		if n > stored[0]/20 {
			t.Errorf("backup %d stored %d bytes, the first %d", i+2, n, stored[0])
		}
	}
}

// A pack that is mostly dead is not referred to again, so that expiry can free it.
func TestMostlyDeadPacksAreStoredAnew(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	rnd := rand.NewChaCha8([32]byte{4})
	data := make([]byte, 4_000_000)
	_, _ = rnd.Read(data)
	src := &fakeSource{files: map[string][]byte{"f": data}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	first := runBackup(t, r, src)
	_, _ = rnd.Read(data[:3_600_000])
	runBackup(t, r, src)
	third := runBackup(t, r, src)
	m, err := r.Cluster("orders", testSystem).Manifest(t.Context(), third.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Packs {
		if strings.HasPrefix(p.Name, first.ID) {
			t.Errorf("the third backup still refers to %s", p.Name)
		}
	}
	equalFiles(t, readBack(t, r, third.ID), src.files)
}

// A source that breaks, in the middle or at its end, leaves no backup and no lock.
func TestAFailedBackupIsNone(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	boom := errors.New("connection lost")
	src := &fakeSource{files: map[string][]byte{"f": make([]byte, 1_000_000)}, fail: boom}
	_, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: src, WAL: src, Codec: codec.LZ4()})
	if !errors.Is(err, boom) {
		t.Fatalf("%v", err)
	}
	c := r.Cluster("orders", testSystem)
	heads, err := c.Backups(t.Context())
	if err != nil || len(heads) != 0 {
		t.Errorf("there is a backup: %v %v", heads, err)
	}
	if locks, err := c.Locks(t.Context(), time.Now()); err != nil || len(locks) != 0 {
		t.Errorf("there is a lock: %v %v", locks, err)
	}
}

// The previous backup's damage is found when it would be referred to, and the new backup stores everything anew rather
// than refer to it.
func TestADamagedManifestIsNotBuiltUpon(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	src := &fakeSource{files: map[string][]byte{"f": bytes.Repeat([]byte("x"), 100_000)}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	h := runBackup(t, r, src)
	key := "orders/" + testSystem.String() + "/backups/" + h.ID + "/manifest"
	data, err := backup.ReadAll(t.Context(), r.Store, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-40] ^= 1
	if err := r.Store.Put(t.Context(), key, bytes.NewReader(data), backup.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var warned error
	src.time = src.time.Add(time.Minute)
	h2, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: src, WAL: src, Codec: codec.Zstd(1), Warn: func(err error) { warned = err }})
	if err != nil || !errors.Is(warned, backup.ErrDamaged) || h2.Previous != "" {
		t.Fatalf("%+v, %v, warned of %v", h2, err, warned)
	}
	equalFiles(t, readBack(t, r, h2.ID), src.files)
}

// A source that looked in the wrong place makes no backup of nothing.
func TestABackupWithoutWhatIsRequiredIsNone(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	src := &fakeSource{files: map[string][]byte{"PG_VERSION": []byte("18"), "pg_xact/0000": {1}}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	run := func(required ...string) error {
		_, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: src, WAL: src, Codec: codec.Zstd(1), Required: required})
		return err
	}
	for _, missing := range []string{"base/1/PG_VERSION", "base/", "pg_xact"} {
		if err := run("PG_VERSION", missing); err == nil || !strings.Contains(err.Error(), "has no "+missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	if heads, err := r.Cluster("orders", testSystem).Backups(t.Context()); err != nil || len(heads) != 0 {
		t.Errorf("there is a backup: %v %v", heads, err)
	}
	if err := run("PG_VERSION", "pg_xact/"); err != nil {
		t.Error(err)
	}
}

// A damaged pack fails no backup: nothing is referred to that verify found damaged, or whose index shows it, or that isn't there.
func TestADamagedPackIsNotBuiltUpon(t *testing.T) {
	t.Parallel()
	for what, hurt := range map[string]func(t *testing.T, r backup.Repository, id, pack string, data []byte){
		"its index": func(t *testing.T, r backup.Repository, _, pack string, data []byte) {
			data[len(data)-45] ^= 1
			put(t, r, pack, data)
		},
		"a unit, found by verify": func(t *testing.T, r backup.Repository, id, pack string, data []byte) {
			data[100] ^= 1
			put(t, r, pack, data)
			c := r.Cluster("orders", testSystem)
			v, err := backup.NewVerifier(c).Verify(t.Context(), id, nil)
			if err != nil || len(v.Damage) == 0 {
				t.Fatalf("%+v, %v", v, err)
			}
			if err := c.SaveVerified(t.Context(), backup.Verified{ID: id, At: time.Now(), Damage: v.Damage}); err != nil {
				t.Fatal(err)
			}
		},
		"it is cut off": func(t *testing.T, r backup.Repository, _, pack string, data []byte) {
			put(t, r, pack, data[:len(data)/2])
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := openRepository(t)
			data := make([]byte, 100_000)
			_, _ = rand.NewChaCha8([32]byte{6}).Read(data)
			src := &fakeSource{files: map[string][]byte{"f": data}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			h := runBackup(t, r, src)
			pack := "orders/" + testSystem.String() + "/packs/" + h.ID + "-0001"
			stored, err := backup.ReadAll(t.Context(), r.Store, pack, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			hurt(t, r, h.ID, pack, stored)
			var warned error
			src.time = src.time.Add(time.Minute)
			h2, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: src, WAL: src, Codec: codec.Zstd(1), Warn: func(err error) { warned = errors.Join(warned, err) }})
			if err != nil || warned == nil || !strings.Contains(warned.Error(), "damaged") {
				t.Fatalf("%v, warned of %v", err, warned)
			}
			equalFiles(t, readBack(t, r, h2.ID), src.files)
		})
	}
}

func put(t *testing.T, r backup.Repository, key string, data []byte) {
	t.Helper()
	if err := r.Store.Put(t.Context(), key, bytes.NewReader(data), backup.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A pack that vanished behind the previous backup's back is missed before the new backup is called complete.
func TestAMissingPackIsNoticed(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	data := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(data)
	src := &fakeSource{files: map[string][]byte{"f": data}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	h := runBackup(t, r, src)
	key := "orders/" + testSystem.String() + "/packs/" + h.ID + "-0001"
	slow := &vanishing{fakeSource: src, gone: func() error { return r.Store.Delete(t.Context(), key) }}
	_, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: slow, WAL: src, Codec: codec.Zstd(1)})
	if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), h.ID+"-0001") {
		t.Fatalf("%v", err)
	}
	if heads, err := r.Cluster("orders", testSystem).Backups(t.Context()); err != nil || len(heads) != 1 {
		t.Errorf("%d backups, %v", len(heads), err)
	}
}

// vanishing does something at the end of the backup.
type vanishing struct {
	*fakeSource
	gone func() error
}

func (v *vanishing) Stop() (backup.Stop, error) {
	s, err := v.fakeSource.Stop()
	return s, errors.Join(err, v.gone())
}

// Packs that no backup names go when no backup is at work, and never while one is.
func TestExpireBesideABackup(t *testing.T) {
	t.Parallel()
	r := openRepository(t)
	c := r.Cluster("orders", testSystem)
	src := &fakeSource{files: map[string][]byte{"f": make([]byte, 500_000)}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i := range 3 {
		copy(src.files["f"], fmt.Sprint(i))
		runBackup(t, r, src)
	}
	during := &vanishing{fakeSource: src, gone: func() error {
		e, err := c.Expire(t.Context(), backup.Policy{Count: 1}, time.Now(), false)
		if err == nil && len(e.Waiting) != 1 {
			err = fmt.Errorf("expire waits for %v", e.Waiting)
		}
		return err
	}}
	src.time = src.time.Add(time.Minute)
	h, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: during, WAL: src, Codec: codec.Zstd(1)})
	if err != nil {
		t.Fatal(err)
	}
	equalFiles(t, readBack(t, r, h.ID), src.files)
	if _, err := c.Expire(t.Context(), backup.Policy{Count: 1}, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	heads, err := c.Backups(t.Context())
	if err != nil || len(heads) != 1 || heads[0].ID != h.ID {
		t.Errorf("left: %v %v", heads, err)
	}
	equalFiles(t, readBack(t, r, h.ID), src.files)
}

// readOlder makes two backups, of which the older one is being read.
func readOlder(t *testing.T) (backup.Repository, *fakeSource, backup.Head, *backup.Reading) {
	t.Helper()
	r := openRepository(t)
	src, _ := secretSource()
	old := runBackup(t, r, src)
	src.time = src.time.Add(time.Hour)
	runBackup(t, r, src)
	reading, err := r.Cluster("orders", testSystem).Read(t.Context(), old.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r, src, old, reading
}

// A backup that is being read does not expire, nor does the log that it needs; once the reader has ended it does.
func TestExpireSparesWhatIsRead(t *testing.T) {
	t.Parallel()
	r, src, old, reading := readOlder(t)
	c := r.Cluster("orders", testSystem)
	removed := func() (gone bool, e *backup.Expiry) {
		t.Helper()
		e, err := c.Expire(t.Context(), backup.Policy{Count: 1}, time.Now(), false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Manifest(t.Context(), old.ID)
		return errors.Is(err, backup.ErrNotFound), e
	}
	gone, e := removed()
	if gone || len(e.Waiting) != 1 || !strings.Contains(e.Waiting[0], "a restore of "+old.ID) || !strings.Contains(strings.Join(e.Decisions[0].Reason, ""), "being restored on") {
		t.Errorf("while it is read: gone %v, %+v", gone, e)
	}
	equalFiles(t, readBack(t, r, old.ID), src.files)
	if err := reading.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	died := exec.Command("true") // whose process is no more
	if err := died.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf(`{"id":"x","reads":%q,"host":%q,"boot":%q,"pid":%d}`, old.ID, hostOf(t), bootOf(t), died.Process.Pid)
	if err := r.Store.Put(t.Context(), "orders/"+testSystem.String()+"/locks/x", strings.NewReader(left), backup.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if gone, e := removed(); !gone || len(e.Waiting) != 0 {
		t.Errorf("afterwards: gone %v, %+v", gone, e)
	}
}

// Where a backup was read and its log is still to be replayed, both stay until then; packs that nobody needs don't.
func TestExpireKeepsTheLogThatIsStillToBeReplayed(t *testing.T) {
	t.Parallel()
	r, _, old, reading := readOlder(t)
	c := r.Cluster("orders", testSystem)
	until := time.Now().Add(24 * time.Hour)
	if err := reading.Leave(t.Context(), until); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // those that end sooner say nothing more
		left := fmt.Sprintf(`{"id":"l%d","reads":%q,"host":"h","until":%q}`, i, old.ID, until.Add(-time.Hour*time.Duration(i+2)).UTC().Format(time.RFC3339))
		if err := r.Store.Put(t.Context(), fmt.Sprintf("orders/%s/locks/l%d", testSystem, i), strings.NewReader(left), backup.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dead := "orders/" + testSystem.String() + "/packs/dead-0001"
	if err := r.Store.Put(t.Context(), dead, strings.NewReader("x"), backup.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for at, kept := range map[time.Duration]bool{0: true, 23*time.Hour + 30*time.Minute: true, 25 * time.Hour: false} {
		e, err := c.Expire(t.Context(), backup.Policy{Count: 1}, time.Now().Add(at), true)
		if err != nil {
			t.Fatal(err)
		}
		if d := e.Decisions[0]; d.Keep != kept || kept != strings.Contains(strings.Join(d.Reason, ""), "may need its log until "+until.UTC().Format(time.RFC3339)) || len(d.Reason) > 1 {
			t.Errorf("after %s: %+v", at, d)
		}
		if !slices.Contains(e.Packs, "dead-0001") || len(e.Waiting) > 0 {
			t.Errorf("after %s the packs wait: %+v", at, e)
		}
	}
	if _, err := c.Expire(t.Context(), backup.Policy{Count: 1}, time.Now().Add(25*time.Hour), false); err != nil {
		t.Fatal(err)
	}
	if locks, err := c.Locks(t.Context(), time.Now()); err != nil || len(locks) > 0 {
		t.Errorf("left: %v %v", locks, err)
	}
}

func hostOf(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func bootOf(t *testing.T) string {
	t.Helper()
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(id))
}
