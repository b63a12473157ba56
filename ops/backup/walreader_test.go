package backup_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/internal/file"
	"github.com/covetpy/covet/ops/backup"
)

var errFull = errors.New("no space left")

// fullDisk takes so many bytes.
type fullDisk struct{ room int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.room -= len(b); d.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// Every archived file comes back as it was whatever it was compressed with. One that isn't what was archived is damaged, and a disk
// that is full isn't damage.
func TestWALReader(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"zstd", "zstd:3", "lz4", "none"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			store, err := file.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			c := backup.Repository{Store: store, Codecs: codec.All(), Where: "file://test"}.Cluster("orders", testSystem)
			how, err := codec.Named(spec)
			if err != nil {
				t.Fatal(err)
			}
			segment := backup.EmptySegment(backup.Segment{Timeline: 1, No: 7}, testSystem, 1<<20)
			_, _ = rand.NewChaCha8([32]byte{5}).Read(segment[100_000:400_000])
			name := backup.Segment{Timeline: 1, No: 7}.Name(1 << 20)
			history := []byte("1\t0/700028\tno recovery target specified\n")
			for name, data := range map[string][]byte{name: segment, "00000002.history": history} {
				if _, err := c.PushWAL(t.Context(), name, data, how); err != nil {
					t.Fatal(err)
				}
			}
			read := func(name string, w io.Writer) error {
				r := backup.WALReader{Cluster: c}
				f, err := r.Read(t.Context(), name)
				if err == nil {
					_, err = f.WriteTo(w)
				}
				return err
			}
			for name, want := range map[string][]byte{name: segment, "00000002.history": history} {
				var got bytes.Buffer
				if err := read(name, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
					t.Fatalf("%s: %d bytes, %v", name, got.Len(), err)
				}
			}
			if err := read(name[:23]+"8", io.Discard); !errors.Is(err, backup.ErrNotFound) {
				t.Errorf("what isn't there: %v", err)
			}
			if err := read(name, &fullDisk{300_000}); !errors.Is(err, errFull) || errors.Is(err, backup.ErrDamaged) {
				t.Errorf("a full disk: %v", err)
			}
			path := find(t, dir, name)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for what, bad := range damagedCopies(t, good, how) {
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				if err := read(name, &got); !errors.Is(err, backup.ErrDamaged) && !(err == nil && bytes.Equal(got.Bytes(), segment)) { // a bit without a meaning
					t.Errorf("%s: %d bytes, %v", what, got.Len(), err)
				}
			}
		})
	}
}

// damagedCopies are files that are not what was archived.
func damagedCopies(t *testing.T, good []byte, how backup.Codec) map[string][]byte {
	t.Helper()
	encoded := func(data []byte) []byte {
		enc, err := how.Encode(nil, data)
		if err != nil {
			t.Fatal(err)
		}
		return enc
	}
	other := backup.EmptySegment(backup.Segment{Timeline: 1, No: 7}, testSystem+1, 1<<20)
	out := map[string][]byte{
		"half of it": good[:len(good)/2], "all but the last byte": good[:len(good)-1], "nothing": {},
		"another cluster's": encoded(other), "a short one": encoded(good[:0]), "a longer one": encoded(append(other, other...)),
		"another segment": encoded(backup.EmptySegment(backup.Segment{Timeline: 1, No: 8}, testSystem, 1<<20)),
	}
	for range 40 {
		bad := bytes.Clone(good)
		bad[rand.IntN(len(bad))] ^= 1 << rand.IntN(8)
		out["a flipped bit "+string(rune('a'+len(out)))] = bad
	}
	return out
}

// find is the only file below dir whose name begins so.
func find(t *testing.T, dir, name string) string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && len(e.Name()) >= len(name) && e.Name()[:len(name)] == name {
			found = append(found, p)
		}
		return err
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	return found[0]
}
