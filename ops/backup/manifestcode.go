package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// A manifest is manifestMagic, the length of the head (4 bytes), the head as JSON, its XXH64, the section of packs, the
// section of everything else, and the SHA-256 of all before it. A section is its length, its length uncompressed (8 bytes
// each), and one frame. The second may be encrypted; it begins with the SHA-256 of all that is before it.
const (
	manifestMagic = "CVTMANI1"
	maxHead       = 1 << 20
	maxBody       = 2 << 30
)

// ErrDamaged is wrapped by the errors about a manifest, pack or segment that isn't what was written.
var ErrDamaged = errors.New("damaged")

// EncodeManifest returns the manifest's bytes, its sections compressed with c, and encrypted where s has recipients.
func EncodeManifest(m *Manifest, c Codec, s *Sealer) ([]byte, error) {
	head, err := json.Marshal(m.Head)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	b := append([]byte(manifestMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(head)))...)
	b = append(b, head...)
	b = binary.LittleEndian.AppendUint64(b, XXH64(head))
	if b, err = appendSection(b, m.encodePacks(), c); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	before := sha256.Sum256(b)
	if b, err = appendSection(b, m.encodeBody(before[:]), s.sealing(c, true, nil)); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func appendSection(b, raw []byte, c Codec) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, 16)...)
	b, err := c.Encode(b, raw)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint64(b[at:], uint64(len(b)-at-16))
	binary.LittleEndian.PutUint64(b[at+8:], uint64(len(raw)))
	return b, nil
}

// decodeSection returns a section's content and what follows it.
func decodeSection(b []byte, codecs Codecs) (raw, rest []byte, err error) {
	if len(b) < 16 {
		return nil, nil, errTruncated
	}
	n, size := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if n > uint64(len(b)-16) || size > maxBody {
		return nil, nil, errTruncated
	}
	enc := b[16 : 16+n]
	codec, err := codecs.Sniff(enc)
	if err != nil {
		return nil, nil, err
	}
	raw, err = decodeExactly(codec, enc, size)
	return raw, b[16+n:], err
}

// DecodeHead reads the head from a manifest's beginning. It needs no more than the first maxHead bytes.
func DecodeHead(b []byte) (Head, error) {
	h, _, err := decodeHead(b)
	return h, err
}

func decodeHead(b []byte) (h Head, rest []byte, err error) {
	if len(b) < 12 || string(b[:8]) != manifestMagic {
		return h, nil, fmt.Errorf("%w: it doesn't begin as a manifest does", ErrDamaged)
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if n > maxHead || uint64(len(b)) < 20+uint64(n) {
		return h, nil, fmt.Errorf("%w: the manifest's head is cut off", ErrDamaged)
	}
	head := b[12 : 12+n]
	if XXH64(head) != binary.LittleEndian.Uint64(b[12+n:]) {
		return h, nil, fmt.Errorf("%w: the manifest's head doesn't match its checksum", ErrDamaged)
	}
	if err := json.Unmarshal(head, &h); err != nil {
		return h, nil, fmt.Errorf("%w: the manifest's head: %w", ErrDamaged, err)
	}
	if h.Format != FormatVersion {
		return h, nil, fmt.Errorf("the manifest has format %d, this version reads %d: use the covetctl that wrote it", h.Format, FormatVersion)
	}
	return h, b[20+n:], nil
}

// DecodeManifest reads a whole manifest and checks everything in it that can be checked without the packs.
func DecodeManifest(b []byte, codecs Codecs) (*Manifest, error) {
	m, before, rest, err := decodeOpen(b, codecs)
	if err != nil {
		return nil, err
	}
	body, rest, err := decodeSection(rest, codecs)
	if err != nil {
		return nil, damaged("the manifest's body", err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: the manifest is longer than it says", ErrDamaged)
	}
	want := sha256.Sum256(b[:before])
	if !bytes.HasPrefix(body, want[:]) {
		return nil, fmt.Errorf("%w: the manifest's head doesn't belong to its body", ErrDamaged)
	}
	if err := m.decodeBody(body[len(want):]); err != nil {
		return nil, damaged("the manifest's body", err)
	}
	return m, nil
}

// DecodePacks reads just which packs a manifest names, which is never encrypted.
func DecodePacks(b []byte, codecs Codecs) ([]Pack, error) {
	m, _, _, err := decodeOpen(b, codecs)
	if err != nil {
		return nil, err
	}
	return m.Packs, nil
}

// decodeOpen reads what is never encrypted: head and packs. It returns what is left, and at which offset that is.
func decodeOpen(b []byte, codecs Codecs) (m *Manifest, at int, rest []byte, err error) {
	if len(b) < sha256.Size {
		return nil, 0, nil, fmt.Errorf("%w: the manifest is cut off", ErrDamaged)
	}
	payload, want := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sum := sha256.Sum256(payload); !bytes.Equal(sum[:], want) {
		return nil, 0, nil, fmt.Errorf("%w: the manifest doesn't match its SHA-256", ErrDamaged)
	}
	h, rest, err := decodeHead(payload)
	if err != nil {
		return nil, 0, nil, err
	}
	packs, rest, err := decodeSection(rest, codecs)
	if err != nil {
		return nil, 0, nil, damaged("the manifest's packs", err)
	}
	m = &Manifest{Head: h}
	if err := m.decodePacks(packs); err != nil {
		return nil, 0, nil, damaged("the manifest's packs", err)
	}
	return m, len(payload) - len(rest), rest, nil
}

// decodeExactly decodes what must become n bytes. The buffer grows with what is really there, so that a damaged length
// can't exhaust the memory: no codec here shrinks data by more than 1 to 32,768.
func decodeExactly(c Codec, enc []byte, n uint64) ([]byte, error) {
	if n > uint64(len(enc))<<15 {
		return nil, errTruncated
	}
	out, err := c.Decode(make([]byte, 0, n), enc)
	if err != nil {
		return nil, err
	}
	if uint64(len(out)) != n {
		return nil, errTruncated
	}
	return out, nil
}

func (m *Manifest) encodePacks() []byte {
	b := binary.AppendUvarint(nil, uint64(len(m.Packs)))
	for _, p := range m.Packs {
		b = appendString(b, p.Name)
		b = binary.AppendUvarint(b, uint64(p.Size))
		b = append(b, p.SHA256[:]...)
	}
	return b
}

// encodeBody appends the tables that may be encrypted.
func (m *Manifest) encodeBody(b []byte) []byte {
	extents := 0
	for _, f := range m.Items {
		extents += len(f.Extents)
	}
	b = slices.Grow(b, 22*len(m.Units)+6*extents+96*len(m.Items)) // about right: growing it later needs it twice
	b = binary.AppendUvarint(b, uint64(len(m.keys)))
	for _, k := range m.keys {
		b = appendString(b, k.backup)
		b = append(b, k.id[:]...)
		b = append(b, k.secret[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Units)))
	for _, u := range m.Units {
		for _, v := range [...]uint32{u.Pack, u.Off, u.Len, u.Raw} {
			b = binary.AppendUvarint(b, uint64(v))
		}
		b = binary.LittleEndian.AppendUint64(b, u.Hash)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Items)))
	last := int64(0) // extents mostly follow each other: units are stored as differences
	for _, f := range m.Items {
		b = binary.AppendUvarint(b, uint64(f.Space))
		b = append(b, byte(f.Type))
		b = appendString(b, f.Path)
		b = appendString(b, f.Link)
		b = binary.AppendUvarint(b, uint64(f.Mode.Perm()))
		b = binary.AppendVarint(b, f.ModTime.Unix())
		b = binary.AppendUvarint(b, uint64(f.Size))
		b = binary.AppendUvarint(b, uint64(len(f.Extents)))
		for _, e := range f.Extents {
			b = binary.AppendVarint(b, int64(e.Unit)-last)
			b = binary.AppendUvarint(b, uint64(e.Off))
			b = binary.AppendUvarint(b, uint64(e.Len))
			last = int64(e.Unit)
		}
	}
	return b
}

func (m *Manifest) decodePacks(b []byte) error {
	d := &decoder{b: b}
	m.Packs = make([]Pack, d.count(34))
	for i := range m.Packs {
		p := &m.Packs[i]
		p.Name, p.Size = d.string(), int64(d.below(maxPack))
		copy(p.SHA256[:], d.take(sha256.Size))
		if d.err == nil && (!validPath(p.Name) || strings.Contains(p.Name, "/")) {
			return fmt.Errorf("%q can't be a pack", p.Name)
		}
	}
	return d.end()
}

func (m *Manifest) decodeBody(b []byte) error {
	d := &decoder{b: b}
	for range d.count(1 + idSize + secretSize) {
		k := packKey{backup: d.string()}
		copy(k.id[:], d.take(idSize))
		copy(k.secret[:], d.take(secretSize))
		m.keys = append(m.keys, k)
	}
	m.Units = make([]Unit, d.count(12))
	for i := range m.Units {
		u := &m.Units[i]
		u.Pack, u.Off, u.Len = uint32(d.below(uint64(len(m.Packs)))), uint32(d.below(maxPack)), uint32(d.below(maxPack))
		u.Raw, u.Hash = uint32(d.below(maxUnit+1)), d.uint64()
		if d.err == nil && int64(u.Off)+int64(u.Len) > m.Packs[u.Pack].Size {
			return fmt.Errorf("unit %d reaches over the end of its pack", i)
		}
	}
	m.Items = make([]File, d.count(8))
	last := int64(0)
	for i := range m.Items {
		if err := m.decodeFile(d, &m.Items[i], &last); err != nil {
			return err
		}
	}
	return d.end()
}

func (m *Manifest) decodeFile(d *decoder, f *File, last *int64) error {
	f.Space, f.Type = int(d.below(uint64(len(m.Tablespaces)+1))), FileType(d.below(3))
	f.Path, f.Link = d.string(), d.string()
	f.Mode, f.ModTime = fs.FileMode(d.below(0o1000)), time.Unix(d.varint(), 0).UTC()
	f.Size = int64(d.below(1 << 62))
	f.Extents = make([]Extent, d.count(3))
	var sum int64
	for i := range f.Extents {
		e := &f.Extents[i]
		*last += d.varint()
		if d.err != nil || *last < 0 || *last >= int64(len(m.Units)) {
			d.fail()
			return d.err
		}
		e.Unit, e.Off, e.Len = uint32(*last), uint32(d.below(maxUnit+1)), uint32(d.below(maxUnit+1))
		if e.Off+e.Len > m.Units[e.Unit].Raw {
			return fmt.Errorf("%s reaches over the end of unit %d", f.Path, e.Unit)
		}
		sum += int64(e.Len)
	}
	if d.err != nil {
		return d.err
	}
	if !validPath(f.Path) {
		return fmt.Errorf("%q is not a path below the data directory", f.Path)
	}
	if f.Type != TypeFile && f.Size != 0 || sum != f.Size {
		return fmt.Errorf("%s has %d bytes of content instead of %d", f.Path, sum, f.Size)
	}
	return nil
}
