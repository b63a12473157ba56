package proxy

import (
	"encoding/binary"
)

// frames follows WebSocket frames (RFC 6455, 5.2) as their bytes pass, so far as to know where one ends. It holds nothing
// back and judges nothing.
type frames struct {
	masked bool // sent by a client

	head   [14]byte
	have   int // of head
	left   uint64
	closed bool // a close frame has begun to pass
}

// between says whether the last frame is over and no other has begun.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

// skip follows b to the end of the present frame at the most, and returns how many bytes of b that was. b is not empty.
func (f *frames) skip(b []byte) int {
	n := 0
	for f.left == 0 {
		f.head[f.have] = b[n]
		f.have++
		n++
		if f.have == f.headLen() {
			f.begin()
			if f.left == 0 {
				return n
			}
		}
		if n == len(b) {
			return n
		}
	}
	rest := min(uint64(len(b)-n), f.left)
	f.left -= rest
	return n + int(rest)
}

// headLen is how long the head will be, as far as it is known; two bytes are needed to tell.
func (f *frames) headLen() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// begin takes in a complete head.
func (f *frames) begin() {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	default:
		f.left = uint64(n)
	}
	const opClose = 8
	if f.head[0]&0x0f == opClose {
		f.closed = true
	}
	f.have = 0
}

// goingAway is a close frame with status 1001 (RFC 6455, 7.4.1). The mask of a client's frame may be zero here: it is there
// to keep a browser's script from choosing the bytes on the wire, and no script chose these.
func goingAway(masked bool) []byte {
	const reason = "going away"
	payload := binary.BigEndian.AppendUint16(nil, 1001)
	payload = append(payload, reason...)
	frame := []byte{0x88, byte(len(payload))}
	if masked {
		frame[1] |= 0x80
		frame = append(frame, 0, 0, 0, 0)
	}
	return append(frame, payload...)
}
