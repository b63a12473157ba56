package server

import (
	"bytes"
	"crypto/sha256"
	"sync"
)

const (
	// packedBytes is how much of compressed answers is remembered, and packedEach how much of one.
	packedBytes = 8 << 20
	packedEach  = 128 << 10
)

// packed remembers answers that were compressed, by the digest of what they were before: most of what a service says it
// says again, and compressing is the dearest thing that is done to an answer.
type packed struct {
	mu    sync.RWMutex
	known map[[sha256.Size]byte][]byte
	size  int
}

func newPacked() *packed { return &packed{known: map[[sha256.Size]byte][]byte{}} }

// get returns the compressed form, nil where it is not remembered. It must not be changed.
func (p *packed) get(sum [sha256.Size]byte) []byte {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.known[sum]
}

// put remembers it, and forgets any others that there is no room for.
func (p *packed) put(sum [sha256.Size]byte, form []byte) {
	if len(form) > packedEach {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.known[sum]; ok {
		return
	}
	for other, old := range p.known { // a map is walked from a random place
		if p.size+len(form) <= packedBytes {
			break
		}
		delete(p.known, other)
		p.size -= len(old)
	}
	p.known[sum] = bytes.Clone(form)
	p.size += len(form)
}
