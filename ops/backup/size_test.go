package backup_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
)

// large is the manifest of a terabyte of which a page in a hundred, anywhere, has changed since the first backup.
func large() *backup.Manifest {
	const files, perFile, raw = 1000, 1024, 1 << 20
	rng := rand.New(rand.NewPCG(1, 2))
	m := &backup.Manifest{Head: backup.Head{Format: backup.FormatVersion, ID: "x", Service: "s", System: 1}}
	m.Packs = []backup.Pack{{Name: "x-0001", Size: 1 << 29}}
	fresh := uint32(files * perFile) // units of changed pages are behind the others
	for range files*perFile + files*perFile/100 + 200 {
		m.Units = append(m.Units, backup.Unit{Raw: raw, Len: 200_000, Hash: rng.Uint64()})
	}
	at := uint32(0)
	for i := range files {
		f := backup.File{Path: fmt.Sprintf("base/5/%d", 16384+i), Mode: 0o600, ModTime: time.Unix(1e9, 0).UTC(), Size: perFile * raw}
		for j := range perFile {
			unit, changed := uint32(i*perFile+j), uint32(rng.IntN(126)+1)*8192
			f.Extents = append(f.Extents, backup.Extent{Unit: unit, Len: changed}, backup.Extent{Unit: fresh, Off: at, Len: 8192},
				backup.Extent{Unit: unit, Off: changed + 8192, Len: raw - changed - 8192})
			if at += 8192; at == raw {
				at, fresh = 0, fresh+1
			}
		}
		m.Items = append(m.Items, f)
	}
	return m
}

// A backup has the previous manifest and its own in memory.
func TestManifestOfATerabyteFits(t *testing.T) {
	m := large()
	b, err := backup.EncodeManifest(m, codec.Zstd(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	extents := len(m.Items) * len(m.Items[0].Extents)
	m = nil
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := backup.DecodeManifest(b, codec.All())
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	live := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d extents: %d MB stored, %d MB in memory", extents, len(b)>>20, live>>20)
	if live > 80<<20 {
		t.Errorf("the manifest of a terabyte takes %d MB of memory", live>>20)
	}
	runtime.KeepAlive(got)
}
