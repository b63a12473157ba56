// Package codec compresses what goes into a backup repository: zstd, lz4, or not at all.
package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/covetpy/covet/ops/backup"
)

// All returns every codec, the default one (zstd at level 1) first.
func All() backup.Codecs { return backup.Codecs{Zstd(1), LZ4(), None()} }

// Named returns the codec that a person asked for: "zstd", "zstd:LEVEL" with a level from 1 to 22, "lz4" or "none".
func Named(spec string) (backup.Codec, error) {
	var level int
	switch _, err := fmt.Sscanf(spec, "zstd:%d", &level); {
	case err == nil && level >= 1 && level <= 22:
		return Zstd(level), nil
	case spec == "zstd":
		return Zstd(1), nil
	case spec == "lz4":
		return LZ4(), nil
	case spec == "none":
		return None(), nil
	}
	return nil, fmt.Errorf("compression %q is unknown: use zstd, zstd:1 to zstd:22, lz4 or none", spec)
}

// window is how far back the encoder looks: as far as the cache of a core reaches. On WAL and pages twice as much takes a tenth
// more time, and saves nothing.
const window = 256 << 10

// zstdCodec makes its encoder and decoder on first use: an archive_command must start quickly.
type zstdCodec struct {
	encoder, bare     func() *zstd.Encoder
	decoder, trusting func() *zstd.Decoder
	streams           sync.Pool // of *zstd.Decoder
}

// Zstd returns the Zstandard codec. The level is that of the reference implementation; its nearest equal is used.
func Zstd(level int) backup.Codec {
	return &zstdCodec{
		encoder: sync.OnceValue(newEncoder(level, true)), bare: sync.OnceValue(newEncoder(level, false)),
		decoder: sync.OnceValue(newDecoder(false)), trusting: sync.OnceValue(newDecoder(true)),
	}
}

// newEncoder returns a function that makes an encoder, whose frames may end with a checksum.
func newEncoder(level int, checksum bool) func() *zstd.Encoder {
	return func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderCRC(checksum), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(!checksum))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	}
}

// newDecoder returns a function that makes a decoder, which may leave checksums alone.
func newDecoder(trusting bool) func() *zstd.Decoder {
	return func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(128<<20), zstd.IgnoreChecksum(trusting))
		if err != nil {
			panic(err) // the options are constants
		}
		return d
	}
}

func (*zstdCodec) Name() string  { return "zstd" }
func (*zstdCodec) Magic() []byte { return []byte{0x28, 0xB5, 0x2F, 0xFD} }

func (c *zstdCodec) Encode(dst, src []byte) ([]byte, error) {
	return encodeFrame(c.encoder, dst, src)
}

// EncodeTrusted is Encode without the frame's checksum.
func (c *zstdCodec) EncodeTrusted(dst, src []byte) ([]byte, error) {
	return encodeFrame(c.bare, dst, src)
}

func encodeFrame(e func() *zstd.Encoder, dst, src []byte) ([]byte, error) {
	if len(src) == 0 { // the library writes nothing for nothing
		return append(dst, 0x28, 0xB5, 0x2F, 0xFD, 0x20, 0x00, 0x01, 0x00, 0x00), nil
	}
	return e().EncodeAll(src, dst), nil
}

func (c *zstdCodec) Decode(dst, src []byte) ([]byte, error) {
	return decodeFrame(c.decoder(), dst, src)
}

// DecodeTrusting is Decode without looking at the frame's checksum.
func (c *zstdCodec) DecodeTrusting(dst, src []byte) ([]byte, error) {
	return decodeFrame(c.trusting(), dst, src)
}

// DecodeTo decodes into w. Its buffers stay in a core's cache, where those for all of a segment have to be had from the kernel
// first: in a process that lives for one segment that takes half of the time.
func (c *zstdCodec) DecodeTo(w io.Writer, src []byte) error {
	d, ok := c.streams.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20)); err != nil {
			return err
		}
	}
	defer c.streams.Put(d)
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return err
	}
	_, err := d.WriteTo(w)
	return errors.Join(err, d.Reset(nil)) // it holds on to nothing
}

func decodeFrame(d *zstd.Decoder, dst, src []byte) ([]byte, error) {
	out, err := d.DecodeAll(src, dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("zstd: %w", backup.ErrTooLong)
	}
	return out, err
}

// Claims looks at the frame's checksum, the lower half of the content's XXH64, and at the content without it.
func (c *zstdCodec) Claims(enc, data []byte) bool {
	if n := len(enc) - 4; n > 4 && binary.LittleEndian.Uint32(enc[n:]) == uint32(xxhash.Sum64(data)) {
		return true
	}
	got, err := c.DecodeTrusting(make([]byte, 0, len(data)), enc)
	return err == nil && bytes.Equal(got, data)
}

type lz4Codec struct{ writers, readers sync.Pool }

// LZ4 returns the codec of LZ4 frames at the fastest level.
func LZ4() backup.Codec { return &lz4Codec{} }

func (*lz4Codec) Name() string  { return "lz4" }
func (*lz4Codec) Magic() []byte { return []byte{0x04, 0x22, 0x4D, 0x18} }

func (c *lz4Codec) Encode(dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := c.writers.Get().(*lz4.Writer)
	if !ok {
		w = lz4.NewWriter(nil)
	}
	defer c.writers.Put(w)
	w.Reset(out)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(true), lz4.ConcurrencyOption(1)); err != nil {
		return nil, err
	}
	_, err := w.Write(src)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (c *lz4Codec) Decode(dst, src []byte) ([]byte, error) {
	r, ok := c.readers.Get().(*lz4.Reader)
	if !ok {
		r = lz4.NewReader(nil)
	}
	defer c.readers.Put(r)
	r.Reset(bytes.NewReader(src))
	for len(dst) < cap(dst) {
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
	}
	var one [1]byte
	if n, err := io.ReadFull(r, one[:]); n > 0 {
		return nil, fmt.Errorf("lz4: %w", backup.ErrTooLong)
	} else if err != io.EOF {
		return nil, err
	}
	return dst, nil
}

// DecodeTo decodes into w, a block at a time.
func (c *lz4Codec) DecodeTo(w io.Writer, src []byte) error {
	r, ok := c.readers.Get().(*lz4.Reader)
	if !ok {
		r = lz4.NewReader(nil)
	}
	defer c.readers.Put(r)
	r.Reset(bytes.NewReader(src))
	_, err := r.WriteTo(w)
	return err
}

// Claims compares the checksum of the content, with which a frame ends.
func (c *lz4Codec) Claims(enc, data []byte) bool {
	want, err := c.Encode(nil, data)
	return err == nil && len(enc) > 8 && bytes.Equal(enc[len(enc)-4:], want[len(want)-4:])
}

// noneCodec puts a magic number and a hash before the bytes, so that damage is found as in a compressed frame.
type noneCodec struct{}

// None returns the codec that stores bytes as they are, behind "CVN1" and their XXH64 (little-endian).
func None() backup.Codec { return noneCodec{} }

func (noneCodec) Name() string  { return "none" }
func (noneCodec) Magic() []byte { return []byte("CVN1") }

func (c noneCodec) Encode(dst, src []byte) ([]byte, error) {
	dst = append(dst, c.Magic()...)
	dst = binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(src))
	return append(dst, src...), nil
}

func (c noneCodec) Decode(dst, src []byte) ([]byte, error) {
	content, err := c.content(src)
	if err != nil {
		return nil, err
	}
	if len(content) > cap(dst)-len(dst) {
		return nil, fmt.Errorf("stored data: %w", backup.ErrTooLong)
	}
	return append(dst, content...), nil
}

// DecodeTo writes the content to w.
func (c noneCodec) DecodeTo(w io.Writer, src []byte) error {
	content, err := c.content(src)
	if err == nil {
		_, err = w.Write(content)
	}
	return err
}

// content is what is stored behind the header, once it has been compared with the hash.
func (c noneCodec) content(src []byte) ([]byte, error) {
	if len(src) < 12 || !bytes.HasPrefix(src, c.Magic()) {
		return nil, errors.New("stored data has no header")
	}
	if xxhash.Sum64(src[12:]) != binary.LittleEndian.Uint64(src[4:]) {
		return nil, errors.New("stored data doesn't match its checksum")
	}
	return src[12:], nil
}

// Claims compares the checksum, and the content.
func (c noneCodec) Claims(enc, data []byte) bool {
	return len(enc) >= 12 && (xxhash.Sum64(data) == binary.LittleEndian.Uint64(enc[4:]) || bytes.Equal(enc[12:], data))
}
