package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Secret is a text that never shows itself: not by fmt, not in logs, not in JSON.
type Secret string

// masked is what stands for a secret wherever values are shown.
const masked = "••••••••"

// String returns a mask, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString masks the secret under %#v too.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.String()) }

// MarshalText masks the secret in JSON, YAML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Value is one setting as it came out, and where from.
type Value struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // masked if secret
	Source string `json:"source"`
	Help   string `json:"help"`
	Secret bool   `json:"secret,omitempty"`
}

// Report lists every setting with the value in force and its source, in the order of the reference.
type Report []Value

// String lays the report out as a table.
func (r Report) String() string {
	var nameWidth, valueWidth int
	for _, v := range r {
		nameWidth = max(nameWidth, utf8.RuneCountInString(v.Name))
		valueWidth = max(valueWidth, utf8.RuneCountInString(v.Value))
	}
	var b strings.Builder
	for _, v := range r {
		fmt.Fprintf(&b, "%-*s  %-*s  %s\n", nameWidth, v.Name, valueWidth, v.Value, v.Source)
	}
	return b.String()
}
