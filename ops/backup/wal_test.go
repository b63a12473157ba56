package backup

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func TestXXH64(t *testing.T) {
	t.Parallel()
	data := make([]byte, 300)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data)
	for n := range data {
		if got, want := XXH64(data[:n]), xxhash.Sum64(data[:n]); got != want {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

func TestLSN(t *testing.T) {
	t.Parallel()
	l, err := ParseLSN("16/B374D848")
	if err != nil || l != 0x16B374D848 || l.String() != "16/B374D848" {
		t.Errorf("%v %v", l, err)
	}
	for _, s := range []string{"", "1", "1/", "/1", "g/1", "1/123456789", "-1/2"} {
		if _, err := ParseLSN(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestSegmentNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   LSN
		size int64
		want string
	}{
		{0x16B374D848, 16 << 20, "0000000300000016000000B3"},
		{0x16B374D848, 64 << 20, "00000003000000160000002C"},
		{0x16B374D848, 1 << 20, "000000030000001600000B37"},
		{0xFFFFFFFF, 16 << 20, "0000000300000000000000FF"},
		{0x100000000, 16 << 20, "000000030000000100000000"},
	} {
		s := SegmentAt(3, c.at, c.size)
		if got := s.Name(c.size); got != c.want {
			t.Errorf("%s in segments of %d: %s, want %s", c.at, c.size, got, c.want)
		}
		back, err := ParseSegment(c.want, c.size)
		if err != nil || back != s || back.Start(c.size) > c.at || back.End(c.size) <= c.at {
			t.Errorf("%s read back: %+v %v", c.want, back, err)
		}
	}
	if _, err := ParseSegment("000000010000000000000100", 16<<20); err == nil {
		t.Error("segment 256 of 16 MB segments is accepted")
	}
}

func TestParseWALFile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]WALFile{
		"0000000300000016000000B3":                 {WALSegment, 3},
		"0000000300000016000000B3.partial":         {WALPartial, 3},
		"0000000A.history":                         {WALHistory, 10},
		"0000000300000016000000B3.00000028.backup": {WALLabel, 3},
	} {
		if got, err := ParseWALFile(name); err != nil || got != want {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for _, name := range []string{"", "x", "0000000300000016000000b3", "0000000300000016000000B3.gz", "../0000000A.history", "00000000.history", "RECOVERYXLOG", "0000000300000016000000B3.", "00000003.history.tmp"} {
		if _, err := ParseWALFile(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h, err := ParseHistory([]byte("# comment\n1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-01-01\n"))
	if err != nil || len(h) != 2 {
		t.Fatalf("%v %v", h, err)
	}
	for at, want := range map[LSN]Timeline{0: 1, 0x2FFFFFF: 1, 0x3000000: 2, 0x4FFFFFF: 2, 0x5000000: 3, 0x9000000: 3} {
		if got := h.At(3, at); got != want {
			t.Errorf("at %s: timeline %d, want %d", at, got, want)
		}
	}
	for _, c := range []struct {
		t    Timeline
		at   LSN
		want bool
	}{{1, 0x2000000, true}, {1, 0x3000000, true}, {1, 0x3000001, false}, {2, 0x4000000, true}, {2, 0x2000000, false}, {3, 0x6000000, true}, {3, 0x4000000, false}, {4, 0x6000000, false}} {
		if got := h.Has(3, c.t, c.at); got != c.want {
			t.Errorf("Has(timeline %d, %s) = %v", c.t, c.at, got)
		}
	}
	for _, bad := range []string{"1", "x 0/1", "1 nonsense", "2 0/5\n1 0/6", "1 0/9\n2 0/3"} {
		if _, err := ParseHistory([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// segmentBytes makes an empty segment with a right header.
func segmentBytes(seg Segment, sys SystemID, size int64) []byte {
	b := make([]byte, size)
	le := binary.LittleEndian
	le.PutUint16(b, 0xD110)
	le.PutUint16(b[2:], walLongHeader)
	le.PutUint32(b[4:], uint32(seg.Timeline))
	le.PutUint64(b[8:], uint64(seg.Start(size)))
	le.PutUint64(b[24:], uint64(sys))
	le.PutUint32(b[32:], uint32(size))
	le.PutUint32(b[36:], walPage)
	return b
}

func TestCheckSegment(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	seg := Segment{2, 77}
	good := segmentBytes(seg, 42, size)
	h, err := CheckSegment(seg.Name(size), good)
	if err != nil || h.System != 42 || h.Start != seg.Start(size) {
		t.Fatalf("%+v %v", h, err)
	}
	damage := map[string]func([]byte) []byte{
		"short":           func(b []byte) []byte { return b[:size-1] },
		"long":            func(b []byte) []byte { return append(b, 0) },
		"empty":           func([]byte) []byte { return nil },
		"magic":           func(b []byte) []byte { b[1] = 0; return b },
		"no long header":  func(b []byte) []byte { b[2] = 0; return b },
		"recycled":        func(b []byte) []byte { b[10] ^= 0x10; return b },
		"later timeline":  func(b []byte) []byte { b[4] = 9; return b },
		"other page size": func(b []byte) []byte { b[37] = 0x40; return b },
		"all zeros":       func([]byte) []byte { return make([]byte, size) },
	}
	for name, f := range damage {
		if _, err := CheckSegment(seg.Name(size), f(bytes.Clone(good))); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
