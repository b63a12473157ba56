package pgwire

import (
	"encoding/binary"

	"github.com/covetpy/covet/ops/backup"
)

const pageSize = backup.ChunkSize

// lanes is how many of a page's sums are computed at once: as many as stay in registers.
const lanes = 8

// pageChecksum is the checksum of a page at its block number, as PostgreSQL's checksum_impl.h defines it: 32 interleaved
// FNV-1a sums, with the page's own field taken as zero.
func pageChecksum(page []byte, block uint32) uint16 {
	return uint16((sums((*[pageSize]byte)(page))^block)%65535 + 1)
}

// sumPage is the exclusive or of a page's sums.
func sumPage(page *[pageSize]byte) uint32 {
	var sum uint32
	for first := 0; first < len(checksumSeeds); first += lanes {
		sum ^= laneSums(page, first)
	}
	return sum
}

// laneSums is the exclusive or of some neighbouring sums of a page, the first of which is number first.
func laneSums(page *[pageSize]byte, first int) uint32 {
	s := [lanes]uint32(checksumSeeds[first:])
	s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	le := binary.LittleEndian
	for at := 4 * first; at < pageSize; at += 4 * len(checksumSeeds) {
		row := page[at : at+4*lanes : at+4*lanes]
		v2 := le.Uint32(row[8:])
		if at == 0 { // pd_checksum is the lower half, at offset 8
			v2 &= 0xffff0000
		}
		s0, s1 = fnv(s0, le.Uint32(row)), fnv(s1, le.Uint32(row[4:]))
		s2, s3 = fnv(s2, v2), fnv(s3, le.Uint32(row[12:]))
		s4, s5 = fnv(s4, le.Uint32(row[16:])), fnv(s5, le.Uint32(row[20:]))
		s6, s7 = fnv(s6, le.Uint32(row[24:])), fnv(s7, le.Uint32(row[28:]))
	}
	var sum uint32
	for _, v := range [lanes]uint32{s0, s1, s2, s3, s4, s5, s6, s7} {
		sum ^= fnv(fnv(v, 0), 0)
	}
	return sum
}

// fnv is one round of a sum.
func fnv(sum, v uint32) uint32 {
	t := sum ^ v
	return t*16777619 ^ t>>17
}

var checksumSeeds = [32]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// pageLSN is that of the last change to the page that was logged.
func pageLSN(page []byte) backup.LSN {
	le := binary.LittleEndian
	return backup.LSN(le.Uint32(page))<<32 | backup.LSN(le.Uint32(page[4:]))
}

// soundPage says whether a page's checksum is right, as far as that can be told: a page that was never used has none, and
// one that changed since the backup began may be half written; replaying the log puts it right.
func soundPage(page []byte, block uint32, start backup.LSN) bool {
	le := binary.LittleEndian
	unused := le.Uint16(page[14:]) == 0 // pd_upper
	return unused || pageLSN(page) >= start || le.Uint16(page[8:]) == pageChecksum(page, block)
}
