package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// readEnv reads an environment file: NAME=VALUE lines; empty lines and those that begin with # are skipped; "export " may
// stand before the name; a value may be in single quotes, taken as it is, or in double quotes with \n, \t, \", \\ and \$.
func readEnv(r io.Reader) (map[string]string, error) {
	out := make(map[string]string)
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, err := splitEnv(strings.TrimSpace(strings.TrimPrefix(line, "export ")))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if value, err = unquote(strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("line %d, %s: %w", n, name, err)
		}
		out[name] = value
	}
	return out, sc.Err()
}

// splitEnv parts NAME=VALUE.
func splitEnv(s string) (name, value string, err error) {
	name, value, found := strings.Cut(s, "=")
	name = strings.TrimSpace(name)
	if !found || !isName(name) {
		return "", "", fmt.Errorf("%.40q is not NAME=VALUE", name) // the value may be a secret
	}
	if strings.ContainsRune(value, 0) {
		return "", "", fmt.Errorf("%s has a NUL byte in its value", name)
	}
	return name, value, nil
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// unquote takes the quotes from a value.
func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return s, nil
	}
	if len(s) < 2 || s[len(s)-1] != s[0] {
		return "", fmt.Errorf("the quote %c is not closed", s[0])
	}
	inner := s[1 : len(s)-1]
	if s[0] == '\'' {
		if strings.Contains(inner, "'") {
			return "", fmt.Errorf("a single quote inside single quotes")
		}
		return inner, nil
	}
	return unescape(inner)
}

func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			return "", fmt.Errorf(`a double quote inside double quotes: write \"`)
		}
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("a backslash at the end escapes the closing quote")
		}
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '"', '\\', '$':
			b.WriteByte(s[i])
		default:
			return "", fmt.Errorf(`\%c is not known: use \n, \t, \", \\ or \$`, s[i])
		}
	}
	return b.String(), nil
}
