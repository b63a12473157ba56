package proxy

import (
	"bytes"
	"errors"
	"io"
)

// Limits of the chunked coding: a size line with its extensions, and the trailers.
const (
	maxSizeLine = 4 << 10
	maxTrailers = 64
)

// chunks reads a body in the chunked coding (RFC 9112, 7.1) straight out of the connection's buffer.
type chunks struct {
	c        *conn
	left     uint64 // of the present chunk
	inChunk  bool   // the CR LF after a chunk's data is still to come
	trailers []field
}

// next returns the next bytes of the body, which it does not copy: they are valid until the next call. It returns io.EOF
// after the last chunk and its trailers, when trailers is set. It calls idle before it waits for more to arrive.
func (k *chunks) next(idle func() error) ([]byte, error) {
	for k.left == 0 {
		if err := k.open(idle); err != nil {
			return nil, err
		}
	}
	if err := k.need(1, idle); err != nil {
		return nil, err
	}
	b := k.c.buffered()
	if uint64(len(b)) > k.left {
		b = b[:k.left]
	}
	k.left -= uint64(len(b))
	k.c.advance(len(b))
	return b, nil
}

// open goes on to the next chunk.
func (k *chunks) open(idle func() error) error {
	if k.inChunk {
		line, err := k.line(idle)
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return faulty("a chunk of its body is longer than it says")
		}
		k.inChunk = false
	}
	line, err := k.line(idle)
	if err != nil {
		return err
	}
	if k.left, err = chunkSize(line); err != nil {
		return err
	}
	if k.left == 0 {
		return k.finish(idle)
	}
	k.inChunk = true
	return nil
}

// finish reads the trailers.
func (k *chunks) finish(idle func() error) error {
	for {
		line, err := k.line(idle)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		f, err := parseField(string(line))
		if err != nil {
			return err
		}
		if len(k.trailers) == maxTrailers {
			return faulty("it has more than %d trailers", maxTrailers)
		}
		if !barred(f.name) {
			k.trailers = append(k.trailers, f)
		}
	}
}

// line returns the next line without its CR LF.
func (k *chunks) line(idle func() error) ([]byte, error) {
	for {
		b := k.c.buffered()
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			if i == 0 || b[i-1] != '\r' {
				return nil, faulty("a line of its chunked body does not end in CR LF")
			}
			if i <= maxSizeLine {
				k.c.advance(i + 1)
				return b[:i-1], nil
			}
		}
		if len(b) > maxSizeLine {
			return nil, faulty("a line of its chunked body is longer than %d bytes", maxSizeLine)
		}
		if err := k.need(len(b)+1, idle); err != nil {
			return nil, err
		}
	}
}

// need waits until n bytes are buffered.
func (k *chunks) need(n int, idle func() error) error {
	for len(k.c.buffered()) < n {
		if err := k.c.fillOrIdle(idle); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// chunkSize reads a size line: hexadecimal digits, then perhaps extensions, which mean nothing to anybody.
func chunkSize(line []byte) (size uint64, err error) {
	digits := 0
	for _, c := range line {
		var d byte
		switch {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			d = c | 0x20 - 'a' + 10
		default:
			if digits > 0 && (c == ';' || c == ' ' || c == '\t') && validExtension(line[digits:]) {
				return size, nil
			}
			return 0, faulty("a chunk size of its body is %.20q", line)
		}
		if digits++; digits > 15 {
			return 0, faulty("a chunk size of its body is %.20q", line)
		}
		size = size<<4 | uint64(d)
	}
	if digits == 0 {
		return 0, faulty("a chunk size of its body is missing")
	}
	return size, nil
}

// validExtension says whether b, which follows a chunk size, is white space alone or begins an extension.
func validExtension(b []byte) bool {
	b = bytes.TrimLeft(b, " \t")
	return (len(b) == 0 || b[0] == ';') && validValue(string(b))
}
