package backup

import (
	"encoding/json"
	"fmt"
	"time"
)

// Elapsed is a time that something took, written as 1m30.25s.
type Elapsed time.Duration

// Std is the duration as the standard library's type.
func (e Elapsed) Std() time.Duration { return time.Duration(e) }

// String is it to the millisecond.
func (e Elapsed) String() string { return e.Std().Round(time.Millisecond).String() }

// MarshalText implements encoding.TextMarshaler.
func (e Elapsed) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalJSON implements json.Unmarshaler. A number is of nanoseconds, as earlier versions wrote it.
func (e *Elapsed) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil {
		*e = Elapsed(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: %w", s, err)
	}
	*e = Elapsed(d)
	return nil
}
