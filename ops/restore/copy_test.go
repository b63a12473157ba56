package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
	disktest "github.com/covetpy/covet/test/disk"
)

const system backup.SystemID = 7000000000000000001

// source is a cluster in memory: a data directory and one tablespace.
type source struct {
	files []backup.File
	data  map[string][]byte
	at    int
	r     *bytes.Reader
}

func (s *source) Start(context.Context, *backup.Manifest) (backup.Start, error) {
	return backup.Start{
		System: system, PGVersion: 150000, Timeline: 1, LSN: 0x1000028, SegmentSize: 1 << 20, Time: time.Now(),
		Tablespaces: []backup.Tablespace{{OID: 16400, Location: "/nowhere/at/all"}},
	}, nil
}

func (s *source) Next() (backup.Entry, error) {
	if s.at == len(s.files) {
		return backup.Entry{}, io.EOF
	}
	f := s.files[s.at]
	s.at++
	s.r = bytes.NewReader(s.data[f.Path])
	return backup.Entry{File: f}, nil
}

func (s *source) Read(p []byte) (int, error) { return s.r.Read(p) }

func (s *source) Stop() (backup.Stop, error) {
	return backup.Stop{LSN: 0x1000028, Timeline: 1, Time: time.Now()}, nil
}

func (s *source) Segments(context.Context, backup.Segment, backup.Segment, func(string, []byte) error) error {
	return nil
}
func (s *source) History(context.Context, backup.Timeline) ([]byte, error) { return nil, nil }

// backedUp makes a repository with one backup of some files.
func backedUp(t *testing.T) (restore.Copy, *source) {
	t.Helper()
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.NewChaCha8([32]byte{8})
	s := &source{data: map[string][]byte{}}
	add := func(space int, path string, size int) {
		s.data[path] = make([]byte, size)
		_, _ = rnd.Read(s.data[path])
		s.files = append(s.files, backup.File{Space: space, Path: path, Mode: 0o600, Size: int64(size)})
	}
	s.files = append(s.files, backup.File{Type: backup.TypeDir, Path: "base", Mode: 0o700}, backup.File{Type: backup.TypeDir, Path: "global", Mode: 0o700})
	add(0, "base/empty", 0)
	add(0, "base/big", 3_000_000)
	add(0, "base/small", 100)
	add(0, "tablespace_map", 20)
	add(1, "inspace", 50_000)
	add(0, "global/pg_control", 8192)
	repo := backup.Repository{Store: store, Codecs: codec.All(), Where: "file://test"}
	h, err := backup.Run(t.Context(), backup.Job{Repository: repo, Service: "orders", Origin: backup.Origin{System: system, PGVersion: 150000, Time: time.Now()}, Source: s, WAL: s, Codec: codec.Zstd(1)})
	if err != nil {
		t.Fatal(err)
	}
	c := repo.Cluster("orders", system)
	m, err := c.Manifest(t.Context(), h.ID)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	return restore.Copy{Cluster: c, Manifest: m, Dir: filepath.Join(root, "data"), Locations: map[uint32]string{16400: filepath.Join(root, "space")}}, s
}

// holds checks that the directories hold the source's files and nothing else.
func holds(t *testing.T, c restore.Copy, s *source) {
	t.Helper()
	for _, f := range s.files {
		if f.Type != backup.TypeFile {
			continue
		}
		root, want := c.Dir, s.data[f.Path]
		if f.Space == 1 {
			root = c.Locations[16400]
		}
		if f.Path == "tablespace_map" {
			want = []byte("16400 " + c.Locations[16400] + "\n")
		}
		got, err := os.ReadFile(filepath.Join(root, f.Path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", f.Path, len(got), err)
		}
	}
	for _, root := range []string{c.Dir, filepath.Join(c.Dir, "base"), filepath.Join(c.Dir, "global"), c.Locations[16400]} {
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			rel := strings.TrimPrefix(filepath.Join(root, e.Name()), c.Dir+"/")
			if root == c.Locations[16400] {
				rel = e.Name()
			}
			if _, ok := s.data[rel]; !ok && !e.IsDir() {
				t.Errorf("%s is left over", rel)
			}
		}
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	c, s := backedUp(t)
	stats, err := c.Run(t.Context())
	if err != nil || stats.Kept != 0 || stats.Written < 3_000_000 {
		t.Fatalf("%+v %v", stats, err)
	}
	holds(t, c, s)
}

// Whatever happened to the files, a copy with Existing puts them right and fetches little more than what differs.
func TestCopyMendsWhatDiffers(t *testing.T) {
	t.Parallel()
	c, s := backedUp(t)
	if _, err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(c.Dir, "base", "big")
	f, err := os.OpenFile(big, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("damage"), 1_000_000)
	if err := errors.Join(err, f.Truncate(3_500_000), f.Close(), os.Remove(filepath.Join(c.Dir, "base", "small")),
		os.WriteFile(filepath.Join(c.Dir, "stray"), nil, 0o600), os.MkdirAll(filepath.Join(c.Dir, "base", "empty.d", "x"), 0o700),
		os.Remove(filepath.Join(c.Dir, "base", "empty")), os.Mkdir(filepath.Join(c.Dir, "base", "empty"), 0o700),
		os.WriteFile(filepath.Join(c.Locations[16400], "stray"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c.Existing = true
	stats, err := c.Run(t.Context())
	if err != nil || stats.Kept < 2_000_000 || stats.Written > 1_000_000 {
		t.Fatalf("%+v %v", stats, err)
	}
	holds(t, c, s)
}

// A data directory and a tablespace that are symbolic links are put right where they lead to.
func TestCopySeesAFullDiskBeforeItFetches(t *testing.T) {
	t.Parallel()
	c, s := backedUp(t)
	c.Dir = filepath.Join(disktest.Small(t, "2m"), "data")
	stats, err := c.Run(t.Context())
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "base/big") || stats.Fetched > 0 {
		t.Fatalf("%v, after %d bytes were fetched", err, stats.Fetched)
	}
	c.Dir, c.Existing = filepath.Join(disktest.Small(t, "8m"), "data"), true
	if _, err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, c, s)
}

func TestCopyThroughLinks(t *testing.T) {
	t.Parallel()
	c, _ := backedUp(t)
	real := t.TempDir()
	link := func(to, at string) string {
		if err := errors.Join(os.MkdirAll(filepath.Join(to, "base"), 0o700), os.WriteFile(filepath.Join(to, "stray"), nil, 0o600), os.Symlink(to, at)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	c.Dir = link(filepath.Join(real, "data"), filepath.Join(real, "data-link"))
	c.Locations[16400] = link(filepath.Join(real, "space"), filepath.Join(real, "space-link"))
	c.Existing = true
	if _, err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"data", "space"} {
		if _, err := os.Stat(filepath.Join(real, dir, "stray")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a stray file is left in %s: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(real, "data", "base", "big")); err != nil {
		t.Error(err)
	}
}

// A copy that is interrupted leaves no control file, is recognised, and can be continued.
func TestCopyIsInterruptedAndContinued(t *testing.T) {
	t.Parallel()
	c, s := backedUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.Workers = 1
	c.Report = func(p backup.Progress) {
		if p.Phase == "sync" {
			cancel()
		}
	}
	if _, err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "global", "pg_control")); err == nil {
		t.Error("there is a control file")
	}
	p, err := restore.Inspect(c.Dir)
	if err != nil || p.State != restore.Unfinished || p.Backup != c.Manifest.ID {
		t.Errorf("%+v %v", p, err)
	}
	c.Report, c.Existing = nil, true
	stats, err := c.Run(t.Context())
	if err != nil || stats.Kept < 2_500_000 {
		t.Errorf("%+v %v", stats, err)
	}
	holds(t, c, s)
}

func TestAllow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p     restore.Place
		force bool
		ok    bool
	}{
		{restore.Place{State: restore.Free}, false, true},
		{restore.Place{State: restore.Occupied}, false, false},
		{restore.Place{State: restore.Occupied}, true, true},
		{restore.Place{State: restore.Foreign}, false, false},
		{restore.Place{State: restore.Foreign}, true, false},
		{restore.Place{State: restore.Running, PID: 7}, true, false},
		{restore.Place{State: restore.Unfinished, Backup: "a"}, false, true},
		{restore.Place{State: restore.Unfinished, Backup: "b"}, false, false},
		{restore.Place{State: restore.Unfinished, Backup: "b"}, true, true},
	} {
		err := restore.Allow("/dir", c.p, "a", c.force)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, restore.ErrOccupied) {
			t.Errorf("%+v, force %v: %v", c.p, c.force, err)
		}
	}
}

// A dead server's postmaster.pid doesn't make a directory look used; a living process's does.
func TestInspect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := func(want restore.PlaceState) {
		t.Helper()
		if p, err := restore.Inspect(dir); err != nil || p.State != want {
			t.Errorf("%+v %v, want state %d", p, err, want)
		}
	}
	check(restore.Free)
	pid := filepath.Join(dir, "postmaster.pid")
	for _, dead := range []restore.PlaceState{restore.Foreign, restore.Occupied} {
		for text, want := range map[string]restore.PlaceState{"1\n/x\n": restore.Running, "4194304\n": dead, "": dead, "x\n": dead} {
			if err := os.WriteFile(pid, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			check(want)
		}
		if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600); err != nil { // from here on it is a data directory
			t.Fatal(err)
		}
	}
	pretend(t, dir) // as in a container, whose process the file does not name
	check(restore.Running)
}
