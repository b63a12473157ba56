package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/ops/backup"
)

// brokenStore is a repository that can be away.
type brokenStore struct {
	backup.Store
	mu   sync.Mutex
	away error
	puts int
}

func (s *brokenStore) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

func (s *brokenStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

func (s *brokenStore) Put(ctx context.Context, key string, r io.Reader, o backup.PutOptions) error {
	s.mu.Lock()
	err := s.away
	s.puts++
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Store.Put(ctx, key, r, o)
}

// pgWAL is a server's log with segments that wait to be archived.
type pgWAL struct {
	dir   string
	store *brokenStore
	c     backup.Cluster
}

func newWAL(t *testing.T, segments int) *pgWAL {
	t.Helper()
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &pgWAL{dir: filepath.Join(t.TempDir(), "pg_wal"), store: &brokenStore{Store: store}}
	w.c = backup.Repository{Store: w.store, Codecs: codec.All(), Where: "file://test"}.Cluster("orders", testSystem)
	if err := os.MkdirAll(filepath.Join(w.dir, "archive_status"), 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range segments {
		w.write(t, n+1)
	}
	return w
}

func (w *pgWAL) name(n int) string {
	return backup.Segment{Timeline: 1, No: uint64(n)}.Name(1 << 20)
}

func (w *pgWAL) path(n int) string { return filepath.Join(w.dir, w.name(n)) }

func (w *pgWAL) write(t *testing.T, n int) {
	t.Helper()
	data := backup.EmptySegment(backup.Segment{Timeline: 1, No: uint64(n)}, testSystem, 1<<20)
	if err := os.WriteFile(w.path(n), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "archive_status", w.name(n)+".ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// done is what PostgreSQL does when archive_command has succeeded.
func (w *pgWAL) done(t *testing.T, n int) {
	t.Helper()
	status := filepath.Join(w.dir, "archive_status", w.name(n))
	if err := os.Rename(status+".ready", status+".done"); err != nil {
		t.Fatal(err)
	}
}

func (w *pgWAL) archiver() *backup.Archiver {
	return &backup.Archiver{Cluster: w.c, Codec: codec.Zstd(1), For: "here", Ahead: 4, Workers: 2}
}

func (w *pgWAL) has(t *testing.T, n int) bool {
	t.Helper()
	_, err := w.c.FetchWhole(t.Context(), w.name(n))
	if err != nil && !errors.Is(err, backup.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// once archives one file as a process of its own would.
func (w *pgWAL) once(t *testing.T, n int) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.archiver()
	_, err := a.Archive(ctx, w.path(n))
	if err := a.Finish(time.Minute, cancel); err != nil {
		t.Error(err)
	}
	return err
}

// What will be asked for next is archived along, and then answered without another word to the repository.
func TestArchiveAhead(t *testing.T) {
	t.Parallel()
	w := newWAL(t, 7)
	if err := w.once(t, 1); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 5; n++ {
		if !w.has(t, n) {
			t.Errorf("segment %d isn't archived", n)
		}
	}
	if w.has(t, 6) {
		t.Error("more was archived ahead than allowed")
	}
	w.done(t, 1)
	puts := w.store.count()
	w.store.set(errors.New("away"))
	for n := 2; n <= 3; n++ {
		if err := w.once(t, n); err != nil {
			t.Errorf("segment %d: %v", n, err)
		}
		w.done(t, n)
	}
	if w.store.count() > puts+4 { // those ahead are tried
		t.Errorf("%d writes for what was archived already", w.store.count()-puts)
	}
	w.store.set(nil)
	// A file of the same name that isn't the one archived is looked at again, and refused.
	data, err := os.ReadFile(w.path(4))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(w.path(4), data, 0o600); err != nil {
		t.Fatal(err)
	}
	var conflict *backup.ConflictError
	if err := w.once(t, 4); !errors.As(err, &conflict) {
		t.Errorf("other bytes under an archived name: %v", err)
	}
}

// A failure ahead isn't anybody's failure until the file is asked for, and is tried again then.
func TestArchiveAheadFails(t *testing.T) {
	t.Parallel()
	w := newWAL(t, 3)
	broken := backup.EmptySegment(backup.Segment{Timeline: 1, No: 2}, 666, 1<<20)
	if err := os.WriteFile(w.path(2), broken, 0o600); err != nil {
		t.Fatal(err)
	}
	a := w.archiver()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := a.Archive(ctx, w.path(1)); err != nil {
		t.Fatal(err)
	}
	w.done(t, 1)
	var foreign *backup.ForeignWALError
	if _, err := a.Archive(ctx, w.path(2)); !errors.As(err, &foreign) {
		t.Errorf("a foreign segment: %v", err)
	}
	w.write(t, 2)
	if out, err := a.Archive(ctx, w.path(2)); err != nil || out != backup.Stored {
		t.Errorf("once it is right: %v %v", out, err)
	}
	if err := a.Finish(time.Minute, cancel); err != nil {
		t.Error(err)
	}
	if !w.has(t, 2) || !w.has(t, 3) {
		t.Error("not everything is archived")
	}
}

// What the spool took survives, goes to the repository when that is back, and only then leaves the spool.
func TestSpool(t *testing.T) {
	t.Parallel()
	w := newWAL(t, 3)
	s := &backup.Spool{Dir: filepath.Join(t.TempDir(), "spool"), Max: 1 << 20}
	w.store.set(errors.New("the bucket is on fire"))
	a := w.archiver()
	a.Spool, a.Ahead = s, 0
	for n := 1; n <= 3; n++ {
		if out, err := a.Archive(t.Context(), w.path(n)); err != nil || out != backup.Spooled {
			t.Fatalf("segment %d: %s %v", n, out, err)
		}
	}
	if out, err := a.Archive(t.Context(), w.path(1)); err != nil || out != backup.Spooled {
		t.Errorf("the same once more: %s %v", out, err)
	}
	if err := s.Drain(t.Context(), w.c, codec.Zstd(1), 2); err == nil || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("draining into nothing: %v", err)
	}
	st, err := s.State()
	if err != nil || st.Files != 3 || !strings.Contains(st.Fault, "on fire") {
		t.Errorf("state: %+v %v", st, err)
	}
	if data, err := s.Read(w.c, w.name(2)); err != nil || len(data) != 1<<20 {
		t.Errorf("read from the spool: %d bytes, %v", len(data), err)
	}
	w.store.set(nil)
	if err := s.Drain(t.Context(), w.c, codec.Zstd(1), 2); err != nil {
		t.Fatal(err)
	}
	if st, err = s.State(); err != nil || st.Files != 0 || st.Fault != "" {
		t.Errorf("state: %+v %v", st, err)
	}
	for n := 1; n <= 3; n++ {
		if !w.has(t, n) {
			t.Errorf("segment %d isn't archived", n)
		}
	}
}

// A full spool sends PostgreSQL to the repository, and says so when that is away too.
func TestSpoolFull(t *testing.T) {
	t.Parallel()
	w := newWAL(t, 2)
	a := w.archiver()
	a.Spool, a.Ahead = &backup.Spool{Dir: filepath.Join(t.TempDir(), "spool"), Max: 10}, 0
	if out, err := a.Archive(t.Context(), w.path(1)); err != nil || out != backup.Stored || !w.has(t, 1) {
		t.Errorf("with the repository there: %s %v", out, err)
	}
	w.store.set(errors.New("away"))
	if _, err := a.Archive(t.Context(), w.path(2)); !errors.Is(err, backup.ErrSpoolFull) || !strings.Contains(err.Error(), "away") {
		t.Errorf("without: %v", err)
	}
}

// A file that the repository refuses for good stays in the spool, and nothing more is taken until somebody has looked.
func TestSpoolRefused(t *testing.T) {
	t.Parallel()
	w := newWAL(t, 3)
	if _, err := w.c.PushWAL(t.Context(), w.name(1), other(w, 1), codec.Zstd(1)); err != nil {
		t.Fatal(err)
	}
	s := &backup.Spool{Dir: filepath.Join(t.TempDir(), "spool"), Max: 1 << 20}
	a := w.archiver()
	a.Spool, a.Ahead = s, 0
	for n := 1; n <= 2; n++ {
		if _, err := a.Archive(t.Context(), w.path(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Drain(t.Context(), w.c, codec.Zstd(1), 1); err != nil {
		t.Fatal(err)
	}
	if !w.has(t, 2) {
		t.Error("the segment behind the refused one isn't archived")
	}
	st, err := s.State()
	if err != nil || st.Files != 1 || len(st.Refused) != 1 || !strings.Contains(st.Refused[0], w.name(1)) {
		t.Errorf("state: %+v %v", st, err)
	}
	if _, err := a.Archive(t.Context(), w.path(3)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the next one: %v", err)
	}
}

// A file that was damaged in the spool is never brought to the repository. Where PostgreSQL has it still, it is taken again.
func TestSpoolDamaged(t *testing.T) {
	t.Parallel()
	w := newWAL(t, 3)
	s := &backup.Spool{Dir: filepath.Join(t.TempDir(), "spool"), Max: 1 << 20}
	a := w.archiver()
	a.Spool, a.Ahead = s, 0
	for n := 1; n <= 2; n++ {
		if _, err := a.Archive(t.Context(), w.path(n)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(s.Dir, "*", "*", w.name(1)))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context(), w.c, codec.Zstd(1), 1); err != nil {
		t.Fatal(err)
	}
	if w.has(t, 1) || !w.has(t, 2) {
		t.Errorf("in the repository: the damaged one %t, the other %t", w.has(t, 1), w.has(t, 2))
	}
	st, err := s.State()
	if err != nil || len(st.Refused) != 1 || !strings.Contains(st.Refused[0], "damaged") {
		t.Errorf("state: %+v %v", st, err)
	}
	if _, err := a.Archive(t.Context(), w.path(3)); err == nil || !strings.Contains(err.Error(), w.name(1)) {
		t.Errorf("the next one: %v", err)
	}
	for _, n := range []int{1, 3} {
		if _, err := a.Archive(t.Context(), w.path(n)); err != nil {
			t.Errorf("segment %d once more: %v", n, err)
		}
	}
	if err := s.Drain(t.Context(), w.c, codec.Zstd(1), 1); err != nil || !w.has(t, 1) || !w.has(t, 3) {
		t.Errorf("after it was pushed again: %v, %t %t", err, w.has(t, 1), w.has(t, 3))
	}
}

// other is a segment with other bytes.
func other(w *pgWAL, n int) []byte {
	data := backup.EmptySegment(backup.Segment{Timeline: 1, No: uint64(n)}, testSystem, 1<<20)
	data[len(data)-1] = 1
	return data
}
