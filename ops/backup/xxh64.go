package backup

import "github.com/cespare/xxhash/v2"

// XXH64 is the hash of that name with seed 0: the repository format's fast hash of blocks.
func XXH64(b []byte) uint64 { return xxhash.Sum64(b) }
