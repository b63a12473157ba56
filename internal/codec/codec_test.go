package codec_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
)

// samples are what codecs meet: nothing, a byte, text, zeros, noise, a page and a unit.
func samples() [][]byte {
	noise := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(noise)
	return [][]byte{nil, {1}, bytes.Repeat([]byte("row "), 2048), make([]byte, 8192), noise[:8192], noise, make([]byte, 1<<20)}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"zstd", "zstd:3", "zstd:19", "lz4", "none"} {
		c, err := codec.Named(spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range samples() {
			enc, err := c.Encode([]byte("before"), data)
			if err != nil || !bytes.HasPrefix(enc, append([]byte("before"), c.Magic()...)) {
				t.Fatalf("%s: encoding %d bytes: %v, starts with %x", spec, len(data), err, enc[:min(12, len(enc))])
			}
			got, err := c.Decode(make([]byte, 0, len(data)), enc[6:])
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes came back as %d: %v", spec, len(data), len(got), err)
			}
			var out bytes.Buffer
			if err := c.DecodeTo(&out, enc[6:]); err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%s: %d bytes were written as %d: %v", spec, len(data), out.Len(), err)
			}
			if len(data) > 1 {
				if _, err := c.Decode(make([]byte, 0, len(data)-1), enc[6:]); !errors.Is(err, backup.ErrTooLong) {
					t.Errorf("%s: %d bytes in a byte less: %v", spec, len(data), err)
				}
			}
		}
	}
}

// Damage anywhere in a frame, and a frame cut short, are errors.
func TestDecodeFindsDamage(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 9000)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(noise)
	data := append(bytes.Repeat([]byte("some page"), 1000), noise...)
	for _, c := range codec.All() {
		enc, err := c.Encode(nil, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, 13, len(enc) / 2, len(enc) - 1} {
			bad := bytes.Clone(enc)
			bad[at] ^= 0x10
			var out bytes.Buffer
			if err := c.DecodeTo(&out, bad); err == nil && !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%s: a flipped bit at %d of %d goes unnoticed in what is written", c.Name(), at, len(enc))
			}
			if got, err := c.Decode(make([]byte, 0, len(data)), bad); err == nil && bytes.Equal(got, data) {
				continue // a bit without a meaning, such as padding
			} else if err == nil {
				t.Errorf("%s: a flipped bit at %d of %d goes unnoticed", c.Name(), at, len(enc))
			}
		}
		if _, err := c.Decode(make([]byte, 0, len(data)), enc[:len(enc)/2]); err == nil {
			t.Errorf("%s: half a frame is accepted", c.Name())
		}
		if err := c.DecodeTo(&bytes.Buffer{}, enc[:len(enc)/2]); err == nil {
			t.Errorf("%s: half a frame is written", c.Name())
		}
	}
}

func TestNamedRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"", "gzip", "zstd:0", "zstd:23", "zstd:x"} {
		if _, err := codec.Named(spec); err == nil {
			t.Errorf("%q is accepted", spec)
		}
	}
}
