package config

import (
	"fmt"
	"strings"
)

// entry is one value of a configuration source, and where in it.
type entry struct {
	value string
	line  int // 0 where the source has no lines
}

// parseDotEnv reads NAME=value lines: comments, blank lines, an optional "export", single quotes (literal), double quotes
// (with \n, \t, \", \\ and \$) and values over several lines inside quotes. Nothing is expanded. Faults name their line.
func parseDotEnv(text string) (map[string]entry, []Fault) {
	values := map[string]entry{}
	var faults []Fault
	text = strings.TrimPrefix(text, "\ufeff")
	for line := 1; text != ""; {
		raw, rest, _ := strings.Cut(text, "\n")
		name, value, ok := strings.Cut(raw, "=")
		name = dotEnvName(name)
		switch {
		case strings.TrimSpace(raw) == "" || strings.HasPrefix(strings.TrimSpace(raw), "#"):
		case !ok || !validEnvName(name):
			faults = append(faults, Fault{Name: fmt.Sprintf("line %d", line), Problem: "is not NAME=value", Example: "LOG_LEVEL=info"})
		default:
			parsed, after, lines, err := dotEnvValue(value, rest)
			if err != nil {
				faults = append(faults, Fault{Name: name, Problem: fmt.Sprintf("on line %d %v", line, err), Example: name + `="value"`})
			} else {
				values[name] = entry{value: parsed, line: line}
			}
			rest = after
			line += lines
		}
		text = rest
		line++
	}
	return values, faults
}

func dotEnvName(s string) string {
	s = strings.TrimSpace(s)
	if after, ok := strings.CutPrefix(s, "export"); ok && after != "" && strings.TrimLeft(after, " \t") != after {
		return strings.TrimSpace(after)
	}
	return s
}

// dotEnvValue reads the value that begins with first and may go on into rest. It returns what follows it and how many
// more lines it took.
func dotEnvValue(first, rest string) (value, after string, lines int, err error) {
	first = strings.TrimSuffix(strings.TrimLeft(first, " \t"), "\r")
	if first == "" || (first[0] != '"' && first[0] != '\'') {
		if i := strings.Index(" "+first, " #"); i >= 0 {
			first = first[:max(i-1, 0)]
		}
		return strings.TrimSpace(first), rest, 0, nil
	}
	quote, body := first[0], first[1:]+"\n"+rest
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case c == quote:
			tail, after, _ := strings.Cut(body[i+1:], "\n")
			tail = strings.TrimSpace(tail)
			if tail != "" && tail[0] != '#' {
				return "", after, lines, fmt.Errorf("has text after the closing %c", quote)
			}
			return b.String(), after, lines, nil
		case c == '\\' && quote == '"' && i+1 < len(body):
			i++
			b.WriteString(unescapeDotEnv(body[i]))
		default:
			b.WriteByte(c)
		}
		if body[i] == '\n' {
			lines++
		}
	}
	return "", rest, 0, fmt.Errorf("opens a %c that is never closed", quote)
}

func unescapeDotEnv(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case '"', '\\', '$', '\n':
		return string(c)
	}
	return `\` + string(rune(c))
}

func validEnvName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
