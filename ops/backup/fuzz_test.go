package backup

import (
	"bytes"
	"errors"
	"testing"
)

// The body of a manifest is parsed after its checksum was found right; the parser must still survive any bytes.
func FuzzManifestBody(f *testing.F) {
	m := &Manifest{
		Packs: []Pack{{Name: "a", Size: 5000}},
		Units: []Unit{{Len: 10, Raw: 8192}},
		Items: []File{{Path: "x", Size: 10, Extents: []Extent{{0, 0, 10}}}},
	}
	packs := m.encodePacks()
	f.Add(packs, m.encodeBody(nil))
	f.Fuzz(func(t *testing.T, p, b []byte) {
		var m Manifest
		if m.decodePacks(p) != nil || m.decodeBody(b) != nil {
			return
		}
		var again Manifest
		if err := errors.Join(again.decodePacks(m.encodePacks()), again.decodeBody(m.encodeBody(nil))); err != nil {
			t.Fatalf("what was decoded can't be encoded and decoded: %v", err)
		}
	})
}

func FuzzPackIndex(f *testing.F) {
	x := &packIndex{}
	x.add(100, 9000, 5, []chunk{{8192, 1}, {808, 2}})
	f.Add(x.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodePackIndex(b)
		if err != nil {
			return
		}
		y, err := decodePackIndex(x.encode())
		if err != nil || len(y.chunks) != len(x.chunks) || len(y.units) != len(x.units) {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte("1\t0/3000000\tno recovery target specified\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		h, err := ParseHistory(b)
		if err == nil {
			h.At(99, 0x1000)
			h.Has(99, 1, 0x1000)
		}
	})
}

func FuzzCheckSegment(f *testing.F) {
	f.Add("00000002000000000000004D", segmentBytes(Segment{2, 77}, 42, 1<<20)[:64])
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if h, err := CheckSegment(name, b); err == nil && int64(len(b)) != h.Size {
			t.Fatal("a segment of another size is accepted")
		}
	})
}

func TestPackFooter(t *testing.T) {
	t.Parallel()
	f := packFooter{off: 100, clen: 50, rlen: 80, indexHash: 9}
	b := f.encode(nil)
	if got, err := decodePackFooter(b, 190); err != nil || got != f {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := decodePackFooter(b, 191); err == nil {
		t.Error("a pack of another size is accepted")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 4
		if _, err := decodePackFooter(bad, 190); err == nil {
			t.Errorf("a flipped bit in byte %d is accepted", i)
		}
	}
}

func FuzzScanSegment(f *testing.F) {
	f.Add(segmentBytes(Segment{1, 1}, 42, 1<<20)[:3*walPage], []byte(nil))
	f.Fuzz(func(_ *testing.T, data, next []byte) {
		ScanSegment(data[:len(data)-len(data)%walPage], next[:len(next)-len(next)%walPage])
	})
}

// The header of a sealed frame comes from the repository unchecked.
func FuzzSealHeader(f *testing.F) {
	f.Add(append([]byte(sealMagic), make([]byte, 60)...))
	f.Add(append([]byte(sealMagic), append([]byte{3}, make([]byte, 90)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeSealHeader(b)
		if err == nil && (h.size > len(b) || len(h.salt) != saltSize) {
			t.Fatalf("%+v of %d bytes", h, len(b))
		}
	})
}
