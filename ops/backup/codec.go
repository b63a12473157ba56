package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrTooLong is returned, wrapped, for data that doesn't fit where it is to be decoded to.
var ErrTooLong = errors.New("it is longer than it should be")

// Codec compresses byte strings that fit into memory. What it writes describes itself by a magic number and finds
// damage by a checksum of its own. A Codec may be used by several goroutines at once.
type Codec interface {
	// Name is what the format calls it: "zstd", "lz4" or "none".
	Name() string
	// Magic is what every encoding begins with.
	Magic() []byte
	// Encode appends the encoding of src to dst.
	Encode(dst, src []byte) ([]byte, error)
	// Decode appends what src encodes to dst. It never grows dst over its capacity: longer data fails with ErrTooLong.
	Decode(dst, src []byte) ([]byte, error)
	// DecodeTo writes what src encodes to w, a little at a time. What it has written before it fails is worth nothing.
	DecodeTo(w io.Writer, src []byte) error
}

// trustingCodec is a Codec that can do without a checksum of its own. Who asks for that has a hash of the content, so that
// looking for damage twice would only take time.
type trustingCodec interface {
	// EncodeTrusted is Encode without a checksum.
	EncodeTrusted(dst, src []byte) ([]byte, error)
	// DecodeTrusting is Decode, which may return damaged data as sound.
	DecodeTrusting(dst, src []byte) ([]byte, error)
}

// encodeTrusted encodes what is stored beside a hash of it.
func encodeTrusted(c Codec, dst, src []byte) ([]byte, error) {
	if t, ok := c.(trustingCodec); ok {
		return t.EncodeTrusted(dst, src)
	}
	return c.Encode(dst, src)
}

// decodeTrusting decodes what the caller checks by a hash.
func decodeTrusting(c Codec, dst, src []byte) ([]byte, error) {
	if t, ok := c.(trustingCodec); ok {
		return t.DecodeTrusting(dst, src)
	}
	return c.Decode(dst, src)
}

// Codecs are those that a reader understands; a writer's default is the first.
type Codecs []Codec

// Named returns the codec with that name.
func (cs Codecs) Named(name string) (Codec, error) {
	for _, c := range cs {
		if c.Name() == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("compression %q is unknown to this version", name)
}

// Sniff returns the codec that data was encoded with.
func (cs Codecs) Sniff(data []byte) (Codec, error) {
	for _, c := range cs {
		if bytes.HasPrefix(data, c.Magic()) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("not in any compression format that this version knows (it begins with %x)", data[:min(4, len(data))])
}
