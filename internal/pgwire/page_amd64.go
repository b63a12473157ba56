package pgwire

import "golang.org/x/sys/cpu"

// sumAVX2 is sumPage with the 32 sums in four registers.
//
//go:noescape
func sumAVX2(page *[pageSize]byte, seeds *[32]uint32) uint32

// sums is the exclusive or of a page's sums, by the fastest means of this processor.
func sums(page *[pageSize]byte) uint32 {
	if cpu.X86.HasAVX2 {
		return sumAVX2(page, &checksumSeeds)
	}
	return sumPage(page)
}
