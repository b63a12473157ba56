package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
)

// headError is a fault in what an instance sent: its answer cannot be passed on.
type headError struct{ fault string }

func (e *headError) Error() string { return e.fault }

func faulty(format string, args ...any) *headError {
	return &headError{fault: fmt.Sprintf(format, args...)}
}

// framing is how the end of a body is found (RFC 9112, 6.3).
type framing int

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// field is a header field with its canonical name.
type field struct{ name, value string }

// response is the head of an answer.
type response struct {
	status  int
	fields  []field // in order, all of them; valid until the connection's next head
	framing framing
	length  int64 // byLength; also what Content-Length says where no body follows (HEAD, 304); -1 without one
	chunked bool

	keepAlive  bool
	connection []string
	upgrade    string
	trailer    []string // names announced
}

// readHead reads the next head. The request's method decides whether a body follows it.
func (c *conn) readHead(method string) (*response, error) {
	searched := 0
	for {
		buf := c.buffered()
		if i := bytes.Index(buf[searched:], []byte("\r\n\r\n")); i >= 0 {
			end := searched + i
			head := string(buf[:end])
			c.advance(end + 4)
			return parseHead(head, method, c.fields[:0])
		}
		if err := plausible(buf); err != nil {
			return nil, err
		}
		searched = max(len(buf)-3, 0)
		if err := c.fill(c.maxHead); err != nil {
			if errors.Is(err, errFull) {
				return nil, faulty("its head is larger than %d bytes", c.maxHead)
			}
			return nil, err
		}
	}
}

// plausible finds early that an incomplete head will never be a good one, rather than wait for an end that would not come.
func plausible(buf []byte) error {
	const begin = "HTTP/1."
	if n := min(len(buf), len(begin)); string(buf[:n]) != begin[:n] {
		return faulty("it begins with %q", buf[:min(len(buf), 16)])
	}
	for i := bytes.IndexByte(buf, '\n'); i >= 0; {
		if i == 0 || buf[i-1] != '\r' {
			return faulty("a line of its head does not end in CR LF")
		}
		next := bytes.IndexByte(buf[i+1:], '\n')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return nil
}

// parseHead parses a head without its last CR LF CR LF. fields is room for the result.
func parseHead(head, method string, fields []field) (*response, error) {
	line, rest, more := strings.Cut(head, "\r\n")
	r := &response{length: -1}
	minor, err := r.parseStatusLine(line)
	if err != nil {
		return nil, err
	}
	for more {
		line, rest, more = strings.Cut(rest, "\r\n")
		f, err := parseField(line)
		if err != nil {
			return nil, err
		}
		if err := r.note(f); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	r.fields = fields
	return r, r.frame(method, minor)
}

// parseStatusLine reads "HTTP/1.1 200 OK" and returns the minor version.
func (r *response) parseStatusLine(line string) (minor int, err error) {
	const begin = "HTTP/1."
	if len(line) < len("HTTP/1.1 200") || line[:len(begin)] != begin || line[8] != ' ' || line[7] != '0' && line[7] != '1' {
		return 0, faulty("its status line is %.40q", line)
	}
	if len(line) > 12 && line[12] != ' ' {
		return 0, faulty("its status line is %.40q", line)
	}
	for _, d := range []byte(line[9:12]) {
		if d < '0' || d > '9' {
			return 0, faulty("its status line is %.40q", line)
		}
		r.status = r.status*10 + int(d-'0')
	}
	if r.status < 100 || !validValue(line[12:]) {
		return 0, faulty("its status line is %.40q", line)
	}
	return int(line[7] - '0'), nil
}

// parseField reads "Name: value". Folded lines are refused: RFC 9112, 5.2, lets a proxy do so.
func parseField(line string) (field, error) {
	colon := strings.IndexByte(line, ':')
	if colon <= 0 || !validName(line[:colon]) {
		return field{}, faulty("a field of its head is %.40q", line)
	}
	value := strings.Trim(line[colon+1:], " \t")
	if !validValue(value) {
		return field{}, faulty("the value of its field %s holds a control character", line[:colon])
	}
	return field{name: textproto.CanonicalMIMEHeaderKey(line[:colon]), value: value}, nil
}

// note takes in the fields that decide about framing and the connection.
func (r *response) note(f field) error {
	switch f.name {
	case "Content-Length":
		n, err := strconv.ParseUint(f.value, 10, 63)
		if err != nil {
			return faulty("its Content-Length is %.40q", f.value)
		}
		if r.length >= 0 && r.length != int64(n) {
			return faulty("it has two lengths, %d and %d", r.length, n)
		}
		r.length = int64(n)
	case "Transfer-Encoding":
		if r.chunked || !strings.EqualFold(f.value, "chunked") {
			return faulty("its Transfer-Encoding is not chunked, once")
		}
		r.chunked = true
	case "Connection":
		r.connection = append(r.connection, f.value)
	case "Upgrade":
		r.upgrade = f.value
	case "Trailer":
		for name := range strings.SplitSeq(f.value, ",") {
			if name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); validName(name) && !barred(name) {
				r.trailer = append(r.trailer, name)
			}
		}
	}
	return nil
}

// frame settles how the body ends and whether the connection can be used again after it.
func (r *response) frame(method string, minor int) error {
	if r.chunked && r.length >= 0 {
		return faulty("it has both a Content-Length and a Transfer-Encoding")
	}
	if r.chunked && minor == 0 {
		return faulty("it has a Transfer-Encoding in HTTP/1.0")
	}
	if r.status < 200 && (r.chunked || r.length > 0) {
		return faulty("it announces a body in an interim answer")
	}
	r.keepAlive = minor == 1 && !hasToken(r.connection, "close") || minor == 0 && hasToken(r.connection, "keep-alive")
	switch {
	case r.status < 200 || r.status == 204:
		// A length or coding here is wrong, and whether bytes follow is anybody's guess: do not use the connection again.
		r.keepAlive = r.keepAlive && !r.chunked && r.length <= 0
		r.length = -1
	case method == "HEAD" || r.status == 304:
	case r.chunked:
		r.framing = byChunks
	case r.length >= 0:
		r.framing = byLength
	default:
		r.framing, r.keepAlive = byClose, false
	}
	return nil
}

// validName says whether s is a token (RFC 9110, 5.6.2).
func validName(s string) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// validValue says whether s holds no control character but the tab.
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

var tokenBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()
