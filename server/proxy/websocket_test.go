package proxy

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// frame builds one frame with a payload of n bytes.
func frame(op byte, n int, masked bool) []byte {
	b := []byte{0x80 | op, 0}
	switch {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if masked {
		b[1] |= 0x80
		b = append(b, 1, 2, 3, 4)
	}
	return append(b, make([]byte, n)...)
}

func TestFramesAreFollowed(t *testing.T) {
	t.Parallel()
	for _, masked := range []bool{false, true} {
		var stream []byte
		ends := make(map[int]bool)
		for _, n := range []int{0, 1, 125, 126, 127, 65_535, 65_536, 0} {
			stream = append(stream, frame(2, n, masked)...)
			ends[len(stream)] = true
		}
		for _, piece := range []int{1, 3, 1000, len(stream)} {
			var f frames
			var seen int
			for at := 0; at < len(stream); {
				b := stream[at:min(at+piece, len(stream))]
				n := f.skip(b)
				at += n
				if f.between() != ends[at] {
					t.Fatalf("masked %v, pieces of %d: at %d between frames: %v", masked, piece, at, f.between())
				}
				if f.between() {
					seen++
				}
			}
			if seen != 8 || f.closed {
				t.Errorf("masked %v, pieces of %d: %d frames, closed %v", masked, piece, seen, f.closed)
			}
		}
	}
}

func TestCloseFrameIsNoticed(t *testing.T) {
	t.Parallel()
	var f frames
	f.skip(frame(8, 2, true))
	if !f.closed || !f.between() {
		t.Error("a close frame has passed unnoticed")
	}
}

func TestGoingAwayIsAFrame(t *testing.T) {
	t.Parallel()
	for _, masked := range []bool{false, true} {
		b := goingAway(masked)
		var f frames
		if n := f.skip(b); n != len(b) || !f.between() || !f.closed {
			t.Errorf("masked %v: %d of %d bytes are a close frame", masked, n, len(b))
		}
		if !bytes.Contains(b, []byte{0x03, 0xe9}) || b[1]&0x80 != 0 != masked {
			t.Errorf("masked %v: %x", masked, b)
		}
	}
}
