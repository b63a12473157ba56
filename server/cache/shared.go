package cache

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// shared is the part of a cache that is in Redis. Where it fails nothing is there, and nothing was kept: a cache may
// always be empty.
type shared struct {
	scripts Scripts
	prefix  string
}

var (
	getScript  = redis.NewScript(`return redis.call('GET', KEYS[1])`)
	putScript  = redis.NewScript(`return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])`)
	dropScript = redis.NewScript(`return redis.call('DEL', KEYS[1])`)
	// tagsScript asks for the versions of tags. One that is not there, or no more, begins at the time, and so beyond any
	// version it may have had: what was kept under it is not believed.
	tagsScript = redis.NewScript(`
local out = {}
for i, key in ipairs(KEYS) do
  out[i] = redis.call('GET', key)
  if not out[i] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    out[i] = ARGV[1]
  end
end
return out`)
	// bumpScript invalidates tags: each version becomes one more, and no less than who invalidates it has.
	bumpScript = redis.NewScript(`
local out = {}
for i, key in ipairs(KEYS) do
  local v = string.format('%.0f', math.max(tonumber(redis.call('GET', key) or '0') + 1, tonumber(ARGV[i + 1])))
  redis.call('SET', key, v, 'PX', ARGV[1])
  out[i] = v
end
return out`)
)

func (s *shared) get(ctx context.Context, key string) *entry {
	v, err := s.scripts.Run(ctx, getScript, []string{s.prefix + key})
	text, ok := v.(string)
	if err != nil || !ok {
		return nil
	}
	var e entry
	if json.Unmarshal([]byte(text), &e) != nil {
		return nil
	}
	return &e
}

func (s *shared) put(ctx context.Context, key string, e *entry, ttl time.Duration) {
	if text, err := json.Marshal(e); err == nil {
		_, _ = s.scripts.Run(ctx, putScript, []string{s.prefix + key}, text, max(1, ttl.Milliseconds()))
	}
}

func (s *shared) drop(ctx context.Context, key string) {
	_, _ = s.scripts.Run(ctx, dropScript, []string{s.prefix + key})
}

func (s *shared) tagKeys(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = s.prefix + "tag:" + name
	}
	return keys
}

// keepTags is how long Redis knows a tag that nobody invalidates.
const keepTags = 7 * 24 * time.Hour

// versions asks for the versions of tags: microseconds since 1970.
func (s *shared) versions(ctx context.Context, names []string) ([]uint64, bool) {
	v, err := s.scripts.Run(ctx, tagsScript, s.tagKeys(names), time.Now().UnixMicro(), keepTags.Milliseconds())
	return numbers(v, err, len(names))
}

// bump invalidates tags, and returns their versions.
func (s *shared) bump(ctx context.Context, names []string, versions []uint64) ([]uint64, bool) {
	args := []any{keepTags.Milliseconds()}
	for _, v := range versions {
		args = append(args, v)
	}
	v, err := s.scripts.Run(ctx, bumpScript, s.tagKeys(names), args...)
	return numbers(v, err, len(names))
}

func numbers(v any, err error, n int) ([]uint64, bool) {
	list, ok := v.([]any)
	if err != nil || !ok || len(list) != n {
		return nil, false
	}
	out := make([]uint64, n)
	for i, item := range list {
		text, ok := item.(string)
		if out[i], err = strconv.ParseUint(text, 10, 64); !ok || err != nil {
			return nil, false
		}
	}
	return out, true
}
