package limit

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

const (
	shardCount = 64
	// sweepEvery is how often a shard drops clients that are not ahead any more.
	sweepEvery = 30 * time.Second
	// sampled is how many clients a full shard compares to find one to forget.
	sampled = 8
)

// table remembers clients, at most so many. It is sharded: every request passes it.
type table struct {
	rules  *Rules
	seed   maphash.Seed
	limit  int // clients in a shard
	shards [shardCount]shard
}

type shard struct {
	mu      sync.Mutex
	clients map[string]client
	sweepAt int64
	_       [64]byte // shards on cache lines of their own
}

// client is what is known of one.
type client struct {
	at arrivals
	// synced is the generation of Redis that knows all of at; 0: none does.
	synced uint32
}

func newTable(rules *Rules, limit int) *table {
	t := &table{rules: rules, seed: maphash.MakeSeed(), limit: max(1, limit/shardCount)}
	for i := range t.shards {
		t.shards[i].clients = map[string]client{}
	}
	return t
}

func (t *table) shard(key string) *shard {
	return &t.shards[maphash.String(t.seed, key)%shardCount]
}

// take lets one request through, or says how long to wait. The clock is read when its turn has come: by an earlier
// reading, those that were faster would have used up what is its.
func (t *table) take(clock func() int64, key string) (now int64, at arrivals, wait time.Duration) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now = clock()
	known, ok := s.clients[key]
	after, wait := t.rules.next(now, known.at)
	if wait > 0 {
		return now, known.at, wait
	}
	s.put(t, now, key, ok, client{at: after})
	return now, after, 0
}

// refund takes a request back that was not let through after all.
func (t *table) refund(key string) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.clients[key]; ok {
		for i, r := range t.rules {
			known.at[i] -= r.interval()
		}
		s.clients[key] = known
	}
}

// unsynced returns how far a client is ahead by what Redis of this generation may not know: nothing, if it knows all.
func (t *table) unsynced(now int64, key string, generation uint32) (ahead arrivals) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.clients[key]; ok && known.synced != generation {
		for i := range ahead {
			ahead[i] = max(0, known.at[i]-now)
		}
	}
	return ahead
}

// learn keeps what Redis of a generation says, for when it is away. A request that was decided here meanwhile counts on.
func (t *table) learn(now int64, key string, ahead arrivals, generation uint32) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.clients[key]
	next := client{synced: generation}
	for i := range ahead {
		next.at[i] = max(known.at[i], now+ahead[i])
	}
	s.put(t, now, key, ok, next)
}

// put stores a client, making room first where it is a new one.
func (s *shard) put(t *table, now int64, key string, known bool, c client) {
	if !known {
		key = strings.Clone(key) // it may be a part of something large
		s.makeRoom(t.limit, now)
	}
	s.clients[key] = c
}

// makeRoom drops clients that are not ahead any more: forgetting them changes nothing. Where the shard is still full, the
// one of a few that is ahead least is forgotten, so that a flood of addresses frees no one who has reached the limit.
func (s *shard) makeRoom(limit int, now int64) {
	if now >= s.sweepAt {
		for key, c := range s.clients {
			if c.latest() <= now {
				delete(s.clients, key)
			}
		}
		s.sweepAt = now + int64(sweepEvery)
	}
	for len(s.clients) >= limit {
		least, n := "", 0
		var latest int64
		for key, c := range s.clients { // a map is walked from a random place
			if n == 0 || c.latest() < latest {
				least, latest = key, c.latest()
			}
			if n++; n == sampled {
				break
			}
		}
		delete(s.clients, least)
	}
}

func (c client) latest() int64 { return max(c.at[0], c.at[1]) }

// size is how many clients are remembered.
func (t *table) size() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.clients)
		s.mu.Unlock()
	}
	return n
}
