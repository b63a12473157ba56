package pgdump

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// scanner reads the numbers and strings of an archive, and hands on all bytes that it went over. After the first error it
// returns zeros.
type scanner struct {
	r   io.Reader
	out io.Writer // gets what was gone over, in large pieces
	err error

	buf            []byte
	sent, pos, end int
	total          int64 // handed on
	intSize        int
	offSize        int
}

// scanBuffer is how much is read at once.
const scanBuffer = 256 << 10

func newScanner(r io.Reader, out io.Writer) *scanner {
	return &scanner{r: r, out: out, buf: make([]byte, scanBuffer)}
}

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// flush hands on what was gone over.
func (s *scanner) flush() {
	if s.err != nil || s.sent == s.pos {
		return
	}
	n, err := s.out.Write(s.buf[s.sent:s.pos])
	s.total += int64(n)
	s.sent = s.pos
	if err != nil {
		s.fail(err)
	}
}

// fill reads more behind what is there; false at the end, or after an error.
func (s *scanner) fill() bool {
	if s.err != nil {
		return false
	}
	s.flush()
	copy(s.buf, s.buf[s.pos:s.end])
	s.sent, s.pos, s.end = 0, 0, s.end-s.pos
	n, err := io.ReadAtLeast(s.r, s.buf[s.end:], 1)
	s.end += n
	if err != nil && !errors.Is(err, io.EOF) {
		s.fail(err)
	}
	return n > 0 && s.err == nil
}

// more says whether anything follows.
func (s *scanner) more() bool {
	return s.err == nil && (s.pos < s.end || s.fill())
}

// take returns the next n bytes, which are few, until the next call.
func (s *scanner) take(n int) []byte {
	for s.end-s.pos < n {
		if !s.fill() {
			s.fail(io.ErrUnexpectedEOF)
			return make([]byte, n)
		}
	}
	s.pos += n
	return s.buf[s.pos-n : s.pos]
}

// skip goes over n bytes.
func (s *scanner) skip(n int64) {
	for n > int64(s.end-s.pos) {
		n -= int64(s.end - s.pos)
		s.pos = s.end
		if !s.fill() {
			s.fail(io.ErrUnexpectedEOF)
			return
		}
	}
	s.pos += int(n)
}

func (s *scanner) byte() byte { return s.take(1)[0] }

// int reads a number: a byte for the sign, then the bytes, the lowest first.
func (s *scanner) int() int {
	b := s.take(1 + s.intSize)
	n := 0
	for i := s.intSize; i > 0; i-- {
		n = n<<8 | int(b[i])
	}
	if b[0] != 0 {
		return -n
	}
	return n
}

// maxString bounds what one string of the table of contents may be: a function's text, say.
const maxString = 1 << 30

// length reads how long a string is; negative: there is none.
func (s *scanner) length() int {
	n := s.int()
	if n > maxString {
		s.fail(fmt.Errorf("a string of %d bytes", n))
		return -1
	}
	return n
}

func (s *scanner) skipString() {
	if n := s.length(); n > 0 {
		s.skip(int64(n))
	}
}

// string reads a string that may be longer than the buffer; ok is false where there is none.
func (s *scanner) string() (text string, ok bool) {
	n := s.length()
	if n < 0 || s.err != nil {
		return "", false
	}
	var b []byte
	for n > 0 && s.err == nil {
		k := min(n, len(s.buf)/2)
		b = append(b, s.take(k)...)
		n -= k
	}
	return string(b), true
}

func (s *scanner) text() string {
	t, _ := s.string()
	return t
}

// id reads a number that is kept as a string; 0 and false where the list ends.
func (s *scanner) id() (int, bool) {
	t, ok := s.string()
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(t)
	if err != nil {
		s.fail(err)
	}
	return n, s.err == nil
}

// at is how many bytes of the archive are before the next one.
func (s *scanner) at() int64 { return s.total + int64(s.pos-s.sent) }
