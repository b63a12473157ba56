package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Sizes of the format's parts, in bytes. A reader accepts others within the limits.
const (
	ChunkSize = 8192      // what is compared with the previous backup: a database page
	UnitSize  = 256 << 10 // what is compressed at once, before compression
	PackSize  = 48 << 20  // at which a pack is closed

	// The manifest is in memory, and has a line for each unit: a very large cluster gets larger ones.
	largeCluster  = 128 << 30
	largeUnitSize = 1 << 20

	maxUnit = 16 << 20
	maxPack = 1 << 30
)

// A pack is packMagic, compressed units back to back, an index, and a footer of footerSize bytes.
const (
	packMagic  = "CVTPACK1"
	packEnd    = "CVTPEND1"
	footerSize = 40
)

// packIndex is what a pack says of the units in it: the hashes by which the next backup recognises unchanged chunks.
type packIndex struct {
	units  []packUnit
	chunks []chunk // of all units, in order

	once sync.Once
	offs []uint32
}

type packUnit struct {
	clen, rlen uint32 // compressed and not
	hash       uint64 // XXH64 of the uncompressed bytes
	first      int    // of its chunks
	n          int
}

type chunk struct {
	len  uint32
	hash uint64 // XXH64
}

// chunksOf returns the chunks of one unit.
func (x *packIndex) chunksOf(unit int) []chunk {
	u := x.units[unit]
	return x.chunks[u.first : u.first+u.n]
}

func (x *packIndex) add(clen, rlen int, hash uint64, chunks []chunk) {
	x.units = append(x.units, packUnit{uint32(clen), uint32(rlen), hash, len(x.chunks), len(chunks)})
	x.chunks = append(x.chunks, chunks...)
}

func (x *packIndex) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(x.units)))
	for i, u := range x.units {
		b = binary.AppendUvarint(b, uint64(u.clen))
		b = binary.AppendUvarint(b, uint64(u.rlen))
		b = binary.LittleEndian.AppendUint64(b, u.hash)
		b = binary.AppendUvarint(b, uint64(u.n))
		for _, c := range x.chunksOf(i) {
			b = binary.AppendUvarint(b, uint64(c.len))
			b = binary.LittleEndian.AppendUint64(b, c.hash)
		}
	}
	return b
}

func decodePackIndex(b []byte) (*packIndex, error) {
	d := &decoder{b: b}
	x := &packIndex{units: make([]packUnit, d.count(11))}
	for i := range x.units {
		u := &x.units[i]
		u.clen, u.rlen, u.hash = uint32(d.below(maxPack)), uint32(d.below(maxUnit+1)), d.uint64()
		u.first, u.n = len(x.chunks), d.count(9)
		var sum uint64
		for range u.n {
			c := chunk{uint32(d.below(maxUnit + 1)), d.uint64()}
			sum += uint64(c.len)
			x.chunks = append(x.chunks, c)
		}
		if d.err == nil && sum != uint64(u.rlen) {
			d.fail()
		}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("pack index: %w", err)
	}
	return x, nil
}

// packFooter says where a pack's index is.
type packFooter struct {
	off       uint64 // of the encoded index
	clen      uint32
	rlen      uint32
	indexHash uint64 // XXH64 of the encoded index
}

// encode appends the footer: offset, lengths, hash of the index, then the hash of these and the closing magic.
func (f packFooter) encode(b []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, f.off)
	b = binary.LittleEndian.AppendUint32(b, f.clen)
	b = binary.LittleEndian.AppendUint32(b, f.rlen)
	b = binary.LittleEndian.AppendUint64(b, f.indexHash)
	b = binary.LittleEndian.AppendUint64(b, XXH64(b[start:]))
	return append(b, packEnd...)
}

func decodePackFooter(b []byte, packSize int64) (packFooter, error) {
	if len(b) != footerSize || string(b[32:]) != packEnd {
		return packFooter{}, errors.New("pack footer: the pack is cut off, or not a pack")
	}
	le := binary.LittleEndian
	f := packFooter{le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint64(b[16:])}
	if le.Uint64(b[24:]) != XXH64(b[:24]) {
		return f, errors.New("pack footer: checksum mismatch")
	}
	if f.rlen > maxPack || f.off < uint64(len(packMagic)) || f.off+uint64(f.clen)+footerSize != uint64(packSize) {
		return f, fmt.Errorf("pack footer: %w", errTruncated)
	}
	return f, nil
}
