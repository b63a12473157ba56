package s3

import "sync"

// partSize is what one request carries. Longer objects go up in parts while they are still being produced, so that no
// more than a few are in memory: one of each upload, and partsShared of all together. 10,000 parts of it make the largest
// object 50 GB.
const (
	partSize      = 5 << 20
	partsInFlight = 2
	partsShared   = 2
)

// part is what one request carries.
type part struct {
	body   []byte
	shared bool
}

// partPool has the buffers of parts. Each upload may have one, so that none waits for another's, and all share a few more. What
// comes back is lent again while anything goes up: in a sync.Pool it would not outlive two collections.
type partPool struct {
	shared chan struct{} // holds one for each that is lent beyond an upload's own

	mu      sync.Mutex
	idle    [][]byte
	uploads int
}

func newPartPool() *partPool { return &partPool{shared: make(chan struct{}, partsShared)} }

func (p *partPool) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uploads++
}

// end lets the buffers go with the last upload.
func (p *partPool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uploads--; p.uploads == 0 {
		p.idle = nil
	}
}

func (p *partPool) lend() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return make([]byte, 0, partSize)
	}
	b := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return b
}

func (p *partPool) back(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, b[:0])
}
