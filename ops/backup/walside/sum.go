package walside

import "strconv"

// sum shortens what tells repositories and invocations apart: FNV-1a, 64 bits.
func sum(s string) string {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return strconv.FormatUint(h, 16)
}
