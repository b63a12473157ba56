//go:build !amd64

package pgwire

// sums is the exclusive or of a page's sums.
func sums(page *[pageSize]byte) uint32 { return sumPage(page) }
