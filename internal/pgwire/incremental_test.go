package pgwire

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/covetpy/covet/ops/backup"
)

// header is an incremental file's beginning as the server sends it.
func header(length uint32, blocks ...uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, incrementalMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(blocks)))
	b = binary.LittleEndian.AppendUint32(b, length)
	for _, n := range blocks {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	if past := len(b) % backup.ChunkSize; len(blocks) > 0 && past != 0 {
		b = append(b, make([]byte, backup.ChunkSize-past)...)
	}
	return b
}

func TestReadChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		length uint32
		blocks []uint32
		size   int64
	}{{0, nil, 0}, {7, nil, 7}, {2, []uint32{1, 9}, 10}, {10, []uint32{1}, 10}} {
		r := bytes.NewReader(append(header(c.length, c.blocks...), "rest"...))
		blocks, size, err := readChanged(r)
		if err != nil || len(blocks) != len(c.blocks) || size != c.size*backup.ChunkSize || r.Len() != 4 {
			t.Errorf("%+v: %v, %d, %d bytes left, %v", c, blocks, size, r.Len(), err)
		}
	}
}

func TestCompleteLabel(t *testing.T) {
	t.Parallel()
	got := completeLabel([]byte("START WAL LOCATION: 0/5\nINCREMENTAL FROM LSN: 0/2\nINCREMENTAL FROM TLI: 1\nLABEL: x\n"))
	if string(got) != "START WAL LOCATION: 0/5\nLABEL: x\n" {
		t.Errorf("%q", got)
	}
}

// The header comes over the network.
func FuzzReadChanged(f *testing.F) {
	f.Add(header(3, 0, 5, 7))
	f.Add(header(131072, 131071))
	f.Fuzz(func(t *testing.T, b []byte) {
		blocks, size, err := readChanged(bytes.NewReader(b))
		if err == nil && (size > maxBlocks*backup.ChunkSize || len(blocks) > len(b)/4) {
			t.Fatalf("%d blocks, %d bytes of %d", len(blocks), size, len(b))
		}
	})
}
