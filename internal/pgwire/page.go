package pgwire

import (
	"encoding/binary"

	"github.com/covetpy/covet/ops/backup"
)

const pageSize = backup.ChunkSize

// pageChecksum is the checksum of a page at its block number, as PostgreSQL's checksum_impl.h defines it: 32 interleaved
// FNV-1a sums, with the page's own field taken as zero.
func pageChecksum(page []byte, block uint32) uint16 {
	const prime = 16777619
	sums := checksumSeeds
	for at := 0; at < pageSize; at += 4 * len(sums) {
		row := page[at : at+4*len(sums) : at+4*len(sums)]
		for i := range sums {
			v := binary.LittleEndian.Uint32(row[4*i:])
			if at == 0 && i == 2 { // pd_checksum is the lower half, at offset 8
				v &= 0xffff0000
			}
			t := sums[i] ^ v
			sums[i] = t*prime ^ t>>17
		}
	}
	var sum uint32
	for range 2 {
		for i := range sums {
			sums[i] = sums[i]*prime ^ sums[i]>>17
		}
	}
	for _, s := range sums {
		sum ^= s
	}
	return uint16((sum^block)%65535 + 1)
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
