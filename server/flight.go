package server

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const flightShards = 16

// flight knows the requests being served, so that a stop can wait for them and name the ones it cuts. It is sharded:
// every request passes it twice.
type flight struct {
	shards [flightShards]flightShard
	next   atomic.Uint32
}

type flightShard struct {
	mu    sync.Mutex
	head  *response
	count int
	bytes [2]int64 // of bodies, in and out, of requests that are over
	_     [64]byte // shards on cache lines of their own
}

// assign gives a new, reusable response its shard for life.
func (f *flight) assign(w *response) {
	w.shard = &f.shards[f.next.Add(1)%flightShards]
}

func (s *flightShard) add(w *response) {
	s.mu.Lock()
	w.next, w.prev = s.head, nil
	if s.head != nil {
		s.head.prev = w
	}
	s.head = w
	s.count++
	s.mu.Unlock()
}

func (s *flightShard) remove(w *response) {
	s.mu.Lock()
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		s.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.next, w.prev = nil, nil
	s.count--
	s.bytes[0] += w.received()
	s.bytes[1] += w.bytes
	s.mu.Unlock()
}

// bytes returns how much came (0) or went (1) in bodies.
func (f *flight) bytes(direction int) float64 {
	var n int64
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		n += s.bytes[direction]
		s.mu.Unlock()
	}
	return float64(n)
}

// count returns how many requests are being served.
func (f *flight) count() int {
	n := 0
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}

// flying describes one request being served.
type flying struct {
	id, method, path, clientIP string
	start                      time.Time
}

// list returns the requests being served, the oldest first.
func (f *flight) list() []flying {
	var out []flying
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for w := s.head; w != nil; w = w.next {
			out = append(out, flying{w.ctx.id[0], w.request.Method, w.request.URL.Path, w.ctx.clientIP, w.start})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b flying) int { return a.start.Compare(b.start) })
	return out
}
