package server

import (
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"
)

// access is what the access log says of a request. The query string is left out: it may hold secrets.
type access struct {
	at       time.Time // when it ended
	id       string
	trace    string
	method   string
	path     string
	clientIP string
	status   int
	bytes    int64
	duration time.Duration
	own      bool // a page of the runtime's
}

func (a *access) level() slog.Level {
	if a.status >= 500 {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// stampFormat is RFC 3339 in UTC with milliseconds.
const stampFormat = "2006-01-02T15:04:05.000Z07:00"

// stamp writes times, keeping the text of the current second: formatting is the dearest part of a log line.
type stamp struct {
	second int64
	text   [len("2006-01-02T15:04:05.")]byte
}

func (s *stamp) append(buf []byte, t time.Time) []byte {
	if sec := t.Unix(); sec != s.second {
		s.second = sec
		t.UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05.")
	}
	ms := t.Nanosecond() / 1e6
	buf = append(buf, s.text[:]...)
	return append(buf, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

func appendAccessJSON(buf []byte, a *access, s *stamp) []byte {
	buf = append(buf, `{"timestamp":"`...)
	buf = s.append(buf, a.at)
	buf = append(buf, `","level":"`...)
	buf = append(buf, a.level().String()...)
	buf = append(buf, `","message":"request","logger":"access","request_id":"`...)
	buf = append(buf, a.id...) // only letters, digits and -_.: pass requestID
	if a.trace != "" {
		buf = append(buf, `","trace_id":"`...)
		buf = append(buf, a.trace...)
	}
	buf = append(buf, `","method":`...)
	buf = appendJSONString(buf, a.method)
	buf = append(buf, `,"path":`...)
	buf = appendJSONString(buf, a.path)
	buf = append(buf, `,"status":`...)
	buf = strconv.AppendInt(buf, int64(a.status), 10)
	buf = append(buf, `,"duration_ms":`...)
	buf = appendMillis(buf, a.duration)
	buf = append(buf, `,"bytes":`...)
	buf = strconv.AppendInt(buf, a.bytes, 10)
	buf = append(buf, `,"client_ip":`...)
	buf = appendJSONString(buf, a.clientIP)
	return append(buf, '}', '\n')
}

func appendAccessText(buf []byte, a *access, s *stamp) []byte {
	buf = append(buf, "timestamp="...)
	buf = s.append(buf, a.at)
	buf = append(buf, " level="...)
	buf = append(buf, a.level().String()...)
	buf = append(buf, " message=request logger=access method="...)
	buf = appendTextValue(buf, a.method)
	buf = append(buf, " path="...)
	buf = appendTextValue(buf, a.path)
	buf = append(buf, " status="...)
	buf = strconv.AppendInt(buf, int64(a.status), 10)
	buf = append(buf, " duration_ms="...)
	buf = appendMillis(buf, a.duration)
	buf = append(buf, " bytes="...)
	buf = strconv.AppendInt(buf, a.bytes, 10)
	buf = append(buf, " client_ip="...)
	buf = append(buf, a.clientIP...)
	buf = append(buf, " request_id="...)
	buf = append(buf, a.id...)
	if a.trace != "" {
		buf = append(buf, " trace_id="...)
		buf = append(buf, a.trace...)
	}
	return append(buf, '\n')
}

// appendMillis writes a duration as milliseconds with three decimals.
func appendMillis(buf []byte, d time.Duration) []byte {
	us := d.Microseconds()
	buf = strconv.AppendInt(buf, us/1000, 10)
	us %= 1000
	return append(buf, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
}

// appendTextValue quotes a value of the text format where it holds anything but plain printable characters.
func appendTextValue(buf []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\' {
			return strconv.AppendQuote(buf, s)
		}
	}
	return append(buf, s...)
}

// appendJSONString writes s as a JSON string. Bytes that are no UTF-8 become U+FFFD, so that a line always parses.
func appendJSONString(buf []byte, s string) []byte {
	const hex = "0123456789abcdef"
	buf = append(buf, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			buf = append(buf, s[from:i]...)
			switch c {
			case '"', '\\':
				buf = append(buf, '\\', c)
			case '\n':
				buf = append(buf, `\n`...)
			default:
				buf = append(buf, `\u00`...)
				buf = append(buf, hex[c>>4], hex[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			buf = append(buf, s[from:i]...)
			buf = append(buf, `\ufffd`...)
			from = i + 1
		}
		i += size
	}
	buf = append(buf, s[from:]...)
	return append(buf, '"')
}
