package backup

import (
	"strconv"
	"strings"
)

// LiveLength is how many bytes of a live segment are there; 0 where it isn't live.
func (a ArchivedSegment) LiveLength() int64 {
	_, digits, ok := strings.Cut(a.Key, liveMark)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(digits, 16, 64)
	if err != nil {
		return 0
	}
	return n
}
