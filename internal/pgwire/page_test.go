package pgwire

import (
	"math/rand/v2"
	"testing"
)

// What the processor's wide registers compute is what the plain loop computes, whatever is in the page, its own field included.
func TestSumsAreThoseOfThePlainLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var page [pageSize]byte
	for range 2000 {
		for i := range page {
			page[i] = byte(r.Uint32())
		}
		if got, want := sums(&page), sumPage(&page); got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
		before := pageChecksum(page[:], 7)
		page[8], page[9] = ^page[8], ^page[9]
		if pageChecksum(page[:], 7) != before {
			t.Fatal("the sum depends on the field that holds it")
		}
		page[10] ^= 1
		if pageChecksum(page[:], 7) == before {
			t.Fatal("a changed bit beside the field was not seen")
		}
	}
}

func BenchmarkSums(b *testing.B) {
	var page [pageSize]byte
	for _, c := range []struct {
		name string
		sum  func(*[pageSize]byte) uint32
	}{{"here", sums}, {"plain", sumPage}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(pageSize)
			for b.Loop() {
				c.sum(&page)
			}
		})
	}
}
