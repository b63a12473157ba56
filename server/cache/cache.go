package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
)

// Scripts runs scripts in Redis, and fails soon where it is away.
type Scripts interface {
	Run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error)
}

// Cache is safe for concurrent use.
type Cache struct {
	local  *otter.Cache[string, *entry]
	shared *shared // nil without Redis
	tags   *tags
	flight singleflight.Group

	hits, sharedHits, misses atomic.Int64
}

// entry is what is kept of an answer. It is never changed.
type entry struct {
	Value    []byte            `json:"v"`
	Expires  time.Time         `json:"e"`
	Versions map[string]uint64 `json:"t,omitempty"` // of its tags, when it was loaded
}

// maxLocal is how many bytes a process keeps, and maxValue the longest value that is kept.
const (
	maxLocal = 64 << 20
	maxValue = 4 << 20
)

// New makes a cache. Keys in Redis begin with the prefix; scripts may be nil.
func New(scripts Scripts, prefix string) *Cache {
	c := &Cache{tags: newTags(), local: otter.Must(&otter.Options[string, *entry]{
		MaximumWeight: maxLocal, Weigher: func(key string, e *entry) uint32 { return uint32(len(key) + len(e.Value) + 256) },
	})}
	if scripts != nil {
		c.shared = &shared{scripts: scripts, prefix: prefix}
	}
	return c
}

// Run keeps what others invalidate in step until ctx ends. Without Redis there is nothing to do.
func (c *Cache) Run(ctx context.Context) {
	if c.shared == nil {
		return
	}
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.sync(ctx)
		}
	}
}

// Options say how long a value is kept, and by which names it can be invalidated.
type Options struct {
	TTL  time.Duration
	Tags []string
}

// Fetch returns the value of a key, from the cache or from load. A value that load fails to make is not kept.
func Fetch[T any](ctx context.Context, c *Cache, key string, o Options, load func(ctx context.Context) (T, error)) (T, error) {
	var out T
	text, err := c.Bytes(ctx, key, func(ctx context.Context) ([]byte, Options, error) {
		v, err := load(ctx)
		if err != nil {
			return nil, o, err
		}
		text, err := json.Marshal(v)
		return text, o, err
	})
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("read %s from the cache: %w", key, err)
	}
	return out, nil
}

// Bytes is Fetch for a value of bytes, which must not be changed. load says how long it may be kept; a TTL of zero is
// not at all.
func (c *Cache) Bytes(ctx context.Context, key string, load func(ctx context.Context) ([]byte, Options, error)) ([]byte, error) {
	if e := c.fromLocal(key); e != nil {
		c.hits.Add(1)
		return e.Value, nil
	}
	answer := c.flight.DoChan(key, func() (any, error) { return c.fill(context.WithoutCancel(ctx), key, load) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-answer:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.([]byte), nil
	}
}

// fill takes a value from Redis, or loads it and keeps it in both places.
func (c *Cache) fill(ctx context.Context, key string, load func(ctx context.Context) ([]byte, Options, error)) ([]byte, error) {
	if e := c.fromLocal(key); e != nil { // another load ended between the look of whoever asks and this
		c.hits.Add(1)
		return e.Value, nil
	}
	if e := c.fromShared(ctx, key); e != nil {
		c.sharedHits.Add(1)
		c.local.Set(key, e)
		return e.Value, nil
	}
	c.misses.Add(1)
	before := c.tags.clock() // what is invalidated from now on may have been read already
	value, o, err := guarded(ctx, key, load)
	if err != nil || o.TTL <= 0 || len(value) > maxValue {
		return value, err
	}
	versions, steady := c.versions(ctx, o.Tags, before)
	if !steady {
		return value, nil
	}
	e := &entry{Value: value, Expires: time.Now().Add(o.TTL), Versions: versions}
	c.local.Set(key, e)
	if c.shared != nil {
		c.shared.put(ctx, key, e, o.TTL)
	}
	return value, nil
}

// guarded runs load. Its panic would end the process, since nobody who asked can recover it: it becomes an error.
func guarded(ctx context.Context, key string, load func(ctx context.Context) ([]byte, Options, error)) (value []byte, o Options, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the load of %s panicked: %v\n%s", key, v, debug.Stack())
		}
	}()
	return load(ctx)
}

func (c *Cache) fromLocal(key string) *entry {
	e, ok := c.local.GetIfPresent(key)
	if !ok {
		return nil
	}
	if !time.Now().Before(e.Expires) || !c.tags.match(e.Versions) {
		c.local.Invalidate(key)
		return nil
	}
	return e
}

func (c *Cache) fromShared(ctx context.Context, key string) *entry {
	if c.shared == nil {
		return nil
	}
	e := c.shared.get(ctx, key)
	if e == nil || !time.Now().Before(e.Expires) {
		return nil
	}
	names := make([]string, 0, len(e.Versions))
	for name := range e.Versions {
		names = append(names, name)
	}
	if _, steady := c.versions(ctx, names, c.tags.clock()); !steady || !c.tags.match(e.Versions) {
		return nil
	}
	return e
}

// versions are those of some tags. It asks Redis for those that this process does not know yet. steady is false where
// one was invalidated after the clock stood at before.
func (c *Cache) versions(ctx context.Context, names []string, before uint64) (versions map[string]uint64, steady bool) {
	if c.shared != nil {
		if unknown := c.tags.unknown(names); len(unknown) > 0 {
			if found, ok := c.shared.versions(ctx, unknown); ok {
				c.tags.learn(unknown, found)
			}
		}
	}
	return c.tags.at(names, before)
}

// Invalidate makes every value with one of the tags vanish. Where Redis is away the other processes are told when it is
// back.
func (c *Cache) Invalidate(ctx context.Context, names ...string) {
	c.tags.bump(names, c.shared != nil)
	if c.shared != nil {
		c.tell(ctx)
	}
}

// Forget drops one key, here and in Redis.
func (c *Cache) Forget(ctx context.Context, key string) {
	c.local.Invalidate(key)
	if c.shared != nil {
		c.shared.drop(ctx, key)
	}
}

// Stats counts answers by where they came from.
type Stats struct {
	Local, Shared, Loaded int64
	Entries               int
}

// Stats are those since the start.
func (c *Cache) Stats() Stats {
	return Stats{Local: c.hits.Load(), Shared: c.sharedHits.Load(), Loaded: c.misses.Load(), Entries: c.local.EstimatedSize()}
}
