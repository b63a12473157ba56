package config

import (
	"errors"
	"fmt"
	"strings"
)

// SplitCommand splits a command line into its arguments by the quoting rules of a POSIX shell: single quotes, double
// quotes, backslashes. It expands nothing. What only a shell can do (pipes, lists, redirections) is refused, because
// the command is run without one; a command that needs a shell says so: sh -c '…'.
func SplitCommand(line string) ([]string, error) {
	words, err := splitWords(line, true)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("names no program")
	}
	return words, nil
}

// JoinCommand writes arguments as one command line that [SplitCommand] splits back into the same arguments.
func JoinCommand(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quoteWord(a)
	}
	return strings.Join(quoted, " ")
}

func quoteWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=@%+,$", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// wordSplitter holds the state of one split: the words so far, and the one being read.
type wordSplitter struct {
	words  []string
	word   strings.Builder
	inWord bool
}

func (s *wordSplitter) put(b byte) { s.word.WriteByte(b); s.inWord = true }

func (s *wordSplitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

// splitWords splits s into shell words. Where refuse is set, unquoted shell operators are an error.
func splitWords(s string, refuse bool) ([]string, error) {
	var out wordSplitter
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			out.end()
		case c == '\'':
			n := strings.IndexByte(s[i+1:], '\'')
			if n < 0 {
				return nil, errors.New("has a single quote that is never closed")
			}
			out.inWord = true
			out.word.WriteString(s[i+1 : i+1+n])
			i += n + 1
		case c == '"':
			n, err := out.doubleQuoted(s[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
		case c == '\\':
			if i+1 == len(s) {
				return nil, errors.New("ends in a backslash")
			}
			i++
			if s[i] != '\n' { // a backslash and a newline continue the line
				out.put(s[i])
			}
		case c == 0:
			return nil, errors.New("holds a NUL byte")
		case refuse && strings.IndexByte("|&;<>`()", c) >= 0:
			return nil, fmt.Errorf("uses the shell's %q outside quotes, and no shell runs it: write sh -c '…'", string(c))
		default:
			out.put(c)
		}
	}
	out.end()
	for _, w := range out.words {
		if strings.IndexByte(w, 0) >= 0 {
			return nil, errors.New("holds a NUL byte")
		}
	}
	return out.words, nil
}

// doubleQuoted reads up to the closing quote and returns how many bytes that took. Inside double quotes a backslash
// keeps its meaning only before $, `, ", \ and a newline.
func (s *wordSplitter) doubleQuoted(rest string) (int, error) {
	s.inWord = true
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\' && i+1 < len(rest) && strings.IndexByte("$`\"\\\n", rest[i+1]) >= 0:
			i++
			if rest[i] != '\n' {
				s.put(rest[i])
			}
		default:
			s.put(c)
		}
	}
	return 0, errors.New("has a double quote that is never closed")
}
