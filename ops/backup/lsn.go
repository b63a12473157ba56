package backup

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log, in bytes from its beginning.
type LSN uint64

// ParseLSN reads PostgreSQL's notation, such as 16/B374D848.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is not an LSN: write it as PostgreSQL does, such as 16/B374D848", s)
	}
	return LSN(h<<32 | l), nil
}

// String is PostgreSQL's notation.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// MarshalText implements encoding.TextMarshaler.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LSN) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLSN(string(b))
	return err
}

// SystemID is the number that initdb gave to a database cluster. In JSON it is a string: it doesn't fit a double.
type SystemID uint64

// ParseSystemID reads the decimal notation that pg_controldata prints.
func ParseSystemID(s string) (SystemID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a database system identifier", s)
	}
	return SystemID(n), nil
}

// String is the decimal notation.
func (id SystemID) String() string { return strconv.FormatUint(uint64(id), 10) }

// MarshalJSON implements json.Marshaler.
func (id SystemID) MarshalJSON() ([]byte, error) { return json.Marshal(id.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (id *SystemID) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	got, err := ParseSystemID(s)
	*id = got
	return err
}
