package backup_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
)

func sampleManifest() *backup.Manifest {
	when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &backup.Manifest{
		Head: backup.Head{
			Format: backup.FormatVersion, ID: "20260301T120000Z-abcd", Service: "orders", System: 7301234567890123456, PGVersion: 150018,
			Started: when, Stopped: when.Add(time.Minute), Timeline: 2, StartLSN: 0x5000028, StopLSN: 0x5000138, SegmentSize: 16 << 20,
			Codec: "zstd", Tablespaces: []backup.Tablespace{{OID: 16400, Location: "/mnt/fast"}}, Bytes: 40_000, Files: 4,
		},
		Packs: []backup.Pack{{Name: "20260301T120000Z-abcd-0001", Size: 5000, SHA256: [32]byte{1, 2}}, {Name: "older-0001", Size: 900}},
		Units: []backup.Unit{{Pack: 0, Off: 8, Len: 3000, Raw: 32768, Hash: 77}, {Pack: 1, Off: 8, Len: 800, Raw: 8192, Hash: 1 << 63}},
		Items: []backup.File{
			{Type: backup.TypeDir, Path: "base", Mode: 0o700, ModTime: when, Extents: []backup.Extent{}},
			{Path: "base/1", Mode: 0o600, ModTime: when, Size: 24576, Extents: []backup.Extent{{0, 0, 8192}, {1, 0, 8192}, {0, 8192, 8192}}},
			{Space: 1, Path: "PG_15/5/16401", Mode: 0o600, ModTime: when, Extents: []backup.Extent{}},
			{Type: backup.TypeLink, Path: "pg_wal", Link: "/wal", Mode: 0o777, ModTime: when, Extents: []backup.Extent{}},
		},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range codec.All() {
		want := sampleManifest()
		b, err := backup.EncodeManifest(want, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := backup.DecodeManifest(b, codec.All())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.Name(), got, want)
		}
		head, err := backup.DecodeHead(b[:len(b)-100])
		if err != nil || !reflect.DeepEqual(head, want.Head) {
			t.Errorf("head: %+v %v", head, err)
		}
	}
}

// No flipped bit and no missing byte gets past the checksums.
func TestManifestFindsDamage(t *testing.T) {
	t.Parallel()
	b, err := backup.EncodeManifest(sampleManifest(), codec.Zstd(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if _, err := backup.DecodeManifest(bad, codec.All()); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("a bit flipped in byte %d: %v", i, err)
		}
		if _, err := backup.DecodeManifest(b[:i], codec.All()); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut after %d bytes: %v", i, err)
		}
	}
}

// What is well-formed but wrong is refused too: it could have been written by something else.
func TestManifestRefusesNonsense(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*backup.Manifest){
		"later format":        func(m *backup.Manifest) { m.Format = backup.FormatVersion + 1 },
		"path upwards":        func(m *backup.Manifest) { m.Items[1].Path = "../etc/passwd" },
		"absolute path":       func(m *backup.Manifest) { m.Items[1].Path = "/etc/passwd" },
		"path through above":  func(m *backup.Manifest) { m.Items[1].Path = "base/../../x" },
		"pack elsewhere":      func(m *backup.Manifest) { m.Packs[0].Name = "../../x" },
		"unit over its pack":  func(m *backup.Manifest) { m.Units[0].Len = 4993 },
		"unknown pack":        func(m *backup.Manifest) { m.Units[0].Pack = 2 },
		"unknown unit":        func(m *backup.Manifest) { m.Items[1].Extents[0].Unit = 2 },
		"extent over unit":    func(m *backup.Manifest) { m.Items[1].Extents[1].Off = 1 },
		"too little content":  func(m *backup.Manifest) { m.Items[1].Size++ },
		"content in a folder": func(m *backup.Manifest) { m.Items[1].Type = backup.TypeDir },
		"unknown tablespace":  func(m *backup.Manifest) { m.Items[2].Space = 2 },
	} {
		m := sampleManifest()
		change(m)
		b, err := backup.EncodeManifest(m, codec.Zstd(1), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backup.DecodeManifest(b, codec.All()); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
