package journal

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that reads and writes as "1m30s" in JSON and YAML, so that records and outputs are
// legible to people.
type Duration time.Duration

// String is the duration as Go prints it, without the zero units at its end ("2m", not "2m0s").
func (d Duration) String() string {
	s := time.Duration(d).String()
	if len(s) > 3 && s[len(s)-2:] == "0s" && s[len(s)-3] == 'm' {
		s = s[:len(s)-2]
	}
	if len(s) > 3 && s[len(s)-2:] == "0m" && s[len(s)-3] == 'h' {
		s = s[:len(s)-2]
	}
	return s
}

// Std is the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A bare number is refused: its unit would be a guess.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s, 5m or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}
