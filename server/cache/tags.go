package cache

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// syncEvery is how often a process looks at what others have invalidated.
const syncEvery = 500 * time.Millisecond

// maxTags is how many tags a process knows the versions of; more than that and all entries are let go.
const maxTags = 20_000

// tags knows the version of each tag, which grows when it is invalidated: microseconds since 1970, or one more than it
// was. Versions in Redis only grow; ours are never behind what we have seen there.
type tags struct {
	mu      sync.RWMutex
	version map[string]uint64
	bumped  map[string]uint64   // the clock at the last invalidation of a tag
	owed    map[string]struct{} // invalidations that Redis has not heard of yet
	now     uint64              // grows with each invalidation
	floor   uint64              // entries of tags that were forgotten are older than this
}

func newTags() *tags {
	return &tags{version: map[string]uint64{}, bumped: map[string]uint64{}, owed: map[string]struct{}{}}
}

func (t *tags) clock() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now
}

// match says whether all tags are still as they were.
func (t *tags) match(versions map[string]uint64) bool {
	if len(versions) == 0 {
		return true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for name, v := range versions {
		if t.version[name] != v {
			return false
		}
	}
	return true
}

func (t *tags) unknown(names []string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []string
	for _, name := range names {
		if _, ok := t.version[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}

// learn takes versions from Redis, which are newer than ours or as old.
func (t *tags) learn(names []string, found []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, name := range names {
		known, ok := t.version[name]
		if ok && found[i] > known {
			t.now++
			t.bumped[name] = t.now
		}
		if !ok || found[i] > known {
			t.version[name] = found[i]
		}
	}
}

// at returns the versions of tags, and whether none was invalidated since the clock stood at before.
func (t *tags) at(names []string, before uint64) (map[string]uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]uint64, len(names))
	for _, name := range names {
		if t.bumped[name] > before || t.floor > before {
			return nil, false
		}
		if _, ok := t.version[name]; !ok {
			t.version[name] = 0
		}
		out[name] = t.version[name]
	}
	return out, true
}

// bump invalidates tags here.
func (t *tags) bump(names []string, owe bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now++
	for _, name := range names {
		t.version[name] = max(t.version[name]+1, uint64(time.Now().UnixMicro()))
		t.bumped[name] = t.now
		if owe {
			t.owed[name] = struct{}{}
		}
	}
}

// debts are the invalidations that Redis has not heard of, with our versions of them.
func (t *tags) debts() (names []string, versions []uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for name := range t.owed {
		names, versions = append(names, name), append(versions, t.version[name])
	}
	return names, versions
}

// paid notes that Redis has heard of them, and what its versions are now.
func (t *tags) paid(names []string, versions, now []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, name := range names {
		if t.version[name] == versions[i] {
			delete(t.owed, name) // otherwise it was invalidated again meanwhile
		}
		t.version[name] = max(t.version[name], now[i])
	}
}

func (t *tags) names() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Keys(t.version))
}

// forget lets go of all versions where there are too many; entries made before are no longer believed.
func (t *tags) forget() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.version) <= maxTags || len(t.owed) > 0 {
		return false
	}
	t.now++
	t.floor = t.now
	clear(t.version)
	clear(t.bumped)
	return true
}

// tell has Redis hear of what was invalidated here.
func (c *Cache) tell(ctx context.Context) {
	names, versions := c.tags.debts()
	if len(names) == 0 {
		return
	}
	if now, ok := c.shared.bump(ctx, names, versions); ok {
		c.tags.paid(names, versions, now)
	}
}

// sync tells Redis what it missed and learns what others have invalidated.
func (c *Cache) sync(ctx context.Context) {
	c.tell(ctx)
	if c.tags.forget() {
		c.local.InvalidateAll()
	}
	for names := range slices.Chunk(c.tags.names(), 500) {
		found, ok := c.shared.versions(ctx, names)
		if !ok {
			return
		}
		c.tags.learn(names, found)
	}
}
