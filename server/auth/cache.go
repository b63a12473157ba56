package auth

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

const (
	cacheShards = 16
	// cacheShard is how many tokens a shard holds: with those of all shards and their texts about 10 MB.
	cacheShard = 1024
)

// verified is a token whose signature and claims were right. It is never changed.
type verified struct {
	principal *Principal
	checked   time.Time // when its family was asked about
	epoch     uint64
}

// fresh says whether the token counts without asking anybody.
func (v *verified) fresh(now time.Time, epoch uint64) bool {
	return v.epoch == epoch && now.Sub(v.checked) < recheck && now.Before(v.principal.Expires)
}

// cache remembers verified tokens, at most so many.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cachePart
}

type cachePart struct {
	mu     sync.RWMutex
	tokens map[string]*verified
}

func newCache() *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].tokens = map[string]*verified{}
	}
	return c
}

func (c *cache) part(token string) *cachePart {
	return &c.shards[maphash.String(c.seed, token)%cacheShards]
}

func (c *cache) get(token string) *verified {
	p := c.part(token)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.tokens[token]
}

// put remembers a token; a full part forgets any other, which only has to be verified again.
func (c *cache) put(token string, v *verified) {
	p := c.part(token)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.tokens[token]; !known {
		token = strings.Clone(token) // it is a part of a header
		for other := range p.tokens {
			if len(p.tokens) < cacheShard {
				break
			}
			delete(p.tokens, other)
		}
	}
	p.tokens[token] = v
}

func (c *cache) drop(token string) {
	p := c.part(token)
	p.mu.Lock()
	delete(p.tokens, token)
	p.mu.Unlock()
}
