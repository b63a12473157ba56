package pg

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log, in bytes.
type LSN uint64

// String writes a position as PostgreSQL does: 16/B374D848.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

var errLSN = errors.New("is no position of the write-ahead log, such as 16/B374D848")

// ParseLSN reads a position as PostgreSQL writes it.
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	if !ok || len(high) > 8 || len(low) > 8 {
		return 0, errLSN
	}
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if err1 != nil || err2 != nil {
		return 0, errLSN
	}
	return LSN(h<<32 | l), nil
}
