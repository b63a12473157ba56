// Package cache keeps answers for a while: in this process, and in Redis where there is one, so that all processes of a
// service share them.
//
//	products, err := cache.Fetch(ctx, c, "products", cache.Options{TTL: time.Minute, Tags: []string{"products"}}, load)
//	err = c.Invalidate(ctx, "products")
//
// Of many who ask for what is not there, one loads it and the others wait for that. What is invalidated is gone in this
// process at once and in the others within a second. While Redis is away each process keeps its own, and nobody waits.
package cache
