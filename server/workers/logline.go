package workers

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// LogLine is one line of a release's log.
type LogLine struct {
	Seq      int64     `json:"seq"` // rises from line to line, over all releases and restarts of covetd
	Time     time.Time `json:"time"`
	Release  string    `json:"release"`
	Instance string    `json:"instance"`
	Stream   string    `json:"stream"` // stdout, stderr, or covetd for what happened to the instance
	Text     string    `json:"text"`   // as the worker wrote it; not safe for a terminal
}

// appendJSON appends the line as encoding/json would write it, at a fifth of the price: a busy service writes many.
func (l LogLine) appendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"seq":`...), l.Seq, 10)
	b = append(l.Time.AppendFormat(append(b, `,"time":"`...), time.RFC3339Nano), '"')
	b = appendString(append(b, `,"release":`...), l.Release)
	b = appendString(append(b, `,"instance":`...), l.Instance)
	b = appendString(append(b, `,"stream":`...), l.Stream)
	b = appendString(append(b, `,"text":`...), l.Text)
	return append(b, '}')
}

// appendString appends a string as RFC 8259 wants it. What is no UTF-8 becomes the replacement character.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
	}
	return append(append(b, s[from:]...), '"')
}
