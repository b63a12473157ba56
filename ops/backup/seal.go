package backup

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// ErrNoIdentity is returned, wrapped, by a KeyWrapper that has no identity for what it is to unwrap.
var ErrNoIdentity = errors.New("no identity for it")

// KeyWrapper is the public-key part of encryption.
type KeyWrapper interface {
	// Recipients are those that new keys are wrapped for; none means that nothing is to be encrypted.
	Recipients() []string
	// Wrap encrypts a key for all recipients.
	Wrap(key []byte) ([]byte, error)
	// Unwrap decrypts a key with whichever identity fits; ErrNoIdentity where none does.
	Unwrap(wrapped []byte) ([]byte, error)
}

// SealedError reports something that can only be read with an identity that isn't there.
type SealedError struct{ Recipients []string }

func (e *SealedError) Error() string {
	return "it is encrypted for " + strings.Join(e.Recipients, ", ") +
		": give the identity of one of these recipients with --age-identity-file or COVET_AGE_IDENTITY_FILE"
}

// sealed says whether an error is just that an identity is missing.
func sealed(err error) bool {
	var s *SealedError
	return errors.As(err, &s)
}

// damaged makes an error of decoding one of damage, except where only an identity is missing.
func damaged(what string, err error) error {
	if sealed(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
}

// A sealed frame is sealMagic, a byte of flags, the key's ID, the envelope (where the flag says so: a uvarint length and
// JSON), the tag (where the flag says so), a salt, and the AES-256-GCM of one compressed frame, under a key that HKDF
// makes from the data key and the salt. All before the ciphertext is authenticated with it.
const (
	sealMagic    = "CVE1"
	flagEnvelope = 1
	flagTag      = 2
	idSize       = 16
	tagSize      = 16
	saltSize     = 16
	secretSize   = 32
	sealInfo     = "covet sealed frame"
)

type keyID [idSize]byte

// dataKey encrypts frames. envelope is how it lies in the repository: wrapped for the recipients.
type dataKey struct {
	id       keyID
	secret   [secretSize]byte
	envelope []byte
}

// envelope is a data key that only the recipients can unwrap. Their names are in the open, so that whoever lacks the
// identity is told which.
type envelope struct {
	Recipients []string `json:"recipients"`
	Key        []byte   `json:"key"` // an age file of 32 bytes
}

// Sealer encrypts what is written, where there are recipients, and decrypts what is read, where there is an identity. It
// may be used by several goroutines at once.
type Sealer struct {
	wrap   KeyWrapper
	codecs Codecs

	mu    sync.Mutex
	known map[keyID]*dataKey
	own   *dataKey // what this process writes with
}

// NewSealer returns a sealer of frames that the codecs compress.
func NewSealer(w KeyWrapper, codecs Codecs) *Sealer {
	return &Sealer{wrap: w, codecs: codecs, known: map[keyID]*dataKey{}}
}

// Codecs are the compressing ones and one that opens sealed frames.
func (s *Sealer) Codecs() Codecs { return append(slices.Clip(s.codecs), opener{s}) }

// active says whether what is written is to be encrypted.
func (s *Sealer) active() bool { return s != nil && len(s.wrap.Recipients()) > 0 }

// recipients are those of what is written; none where it isn't encrypted.
func (s *Sealer) recipients() []string {
	if s == nil {
		return nil
	}
	return s.wrap.Recipients()
}

// ownKey returns the key that this process encrypts with, which it makes when it is first asked.
func (s *Sealer) ownKey() (*dataKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != nil {
		return s.own, nil
	}
	k := &dataKey{}
	_, _ = rand.Read(k.id[:]) // never fails
	_, _ = rand.Read(k.secret[:])
	wrapped, err := s.wrap.Wrap(k.secret[:])
	if err != nil {
		return nil, fmt.Errorf("encrypt the key for its recipients: %w", err)
	}
	if k.envelope, err = json.Marshal(envelope{s.wrap.Recipients(), wrapped}); err != nil {
		return nil, fmt.Errorf("encrypt the key for its recipients: %w", err)
	}
	s.own, s.known[k.id] = k, k
	return k, nil
}

// learn takes the keys that a manifest brought.
func (s *Sealer) learn(keys []packKey) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		s.known[k.id] = &dataKey{id: k.id, secret: k.secret}
	}
}

// key finds a frame's key: known, or in the frame's own envelope.
func (s *Sealer) key(h sealHeader) (*dataKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known[h.id]; k != nil {
		return k, nil
	}
	if h.envelope == nil {
		return nil, errors.New("it is encrypted with a key that its manifest doesn't have")
	}
	var e envelope
	if err := json.Unmarshal(h.envelope, &e); err != nil {
		return nil, fmt.Errorf("the envelope of its key: %w", err)
	}
	secret, err := s.wrap.Unwrap(e.Key)
	if errors.Is(err, ErrNoIdentity) {
		return nil, &SealedError{e.Recipients}
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt its key: %w", err)
	}
	if len(secret) != secretSize {
		return nil, fmt.Errorf("its key has %d bytes instead of %d", len(secret), secretSize)
	}
	k := &dataKey{id: h.id, secret: [secretSize]byte(secret)}
	s.known[h.id] = k
	return k, nil
}

// aead is the cipher of one frame. A salt is never used twice, so that the nonce may be constant.
func (k *dataKey) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.secret[:], salt, sealInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var noNonce [12]byte

// sealHeader is what precedes the ciphertext of a frame.
type sealHeader struct {
	id       keyID
	envelope []byte
	tag      []byte
	salt     []byte
	size     int // of all of it
}

func decodeSealHeader(b []byte) (h sealHeader, err error) {
	d := &decoder{b: b}
	if string(d.take(len(sealMagic))) != sealMagic {
		d.fail()
	}
	flags := d.below(flagEnvelope | flagTag + 1)
	copy(h.id[:], d.take(idSize))
	if flags&flagEnvelope != 0 {
		h.envelope = d.take(d.count(1))
	}
	if flags&flagTag != 0 {
		h.tag = d.take(tagSize)
	}
	h.salt = d.take(saltSize)
	h.size = len(b) - len(d.b)
	return h, d.err
}

// sealing is a codec that compresses with another one, and encrypts.
type sealing struct {
	Codec
	s        *Sealer
	envelope bool   // in every frame: it can be read alone
	tag      []byte // nil: none
}

// sealing returns the codec to write with: that which compresses, where nothing is encrypted. With an envelope the frame
// can be read alone; without one it needs its manifest.
func (s *Sealer) sealing(compress Codec, envelope bool, tag []byte) Codec {
	if !s.active() {
		return compress
	}
	return sealing{compress, s, envelope, tag}
}

func (sealing) Magic() []byte { return []byte(sealMagic) }

func (c sealing) Encode(dst, src []byte) ([]byte, error) {
	k, err := c.s.ownKey()
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, sealMagic...)
	at := len(dst)
	dst = append(dst, 0)
	dst = append(dst, k.id[:]...)
	if c.envelope {
		dst[at] |= flagEnvelope
		dst = append(binary.AppendUvarint(dst, uint64(len(k.envelope))), k.envelope...)
	}
	if c.tag != nil {
		dst[at] |= flagTag
		dst = append(dst, c.tag...)
	}
	dst = append(dst, make([]byte, saltSize)...)
	body := len(dst)
	salt := dst[body-saltSize : body]
	_, _ = rand.Read(salt) // never fails
	aead, err := k.aead(salt)
	if err != nil {
		return nil, err
	}
	if dst, err = c.Codec.Encode(dst, src); err != nil {
		return nil, err
	}
	dst = slices.Grow(dst, aead.Overhead()) // so that it is encrypted in place
	return aead.Seal(dst[:body], noNonce[:], dst[body:], dst[start:body]), nil
}

// opener is the codec of sealed frames, for reading.
type opener struct{ s *Sealer }

// plain are buffers for what was decrypted and is still compressed.
var plain = sync.Pool{New: func() any { return new([]byte) }}

func (opener) Name() string  { return "sealed" }
func (opener) Magic() []byte { return []byte(sealMagic) }

func (opener) Encode([]byte, []byte) ([]byte, error) {
	return nil, errors.New("a sealed frame is written by the codec that compresses it")
}

func (o opener) Decode(dst, src []byte) (out []byte, err error) {
	err = o.open(src, func(c Codec, body []byte) error {
		out, err = decodeTrusting(c, dst, body) // it is what was encrypted, to the bit
		return err
	})
	return out, err
}

// DecodeTo implements Codec.
func (o opener) DecodeTo(w io.Writer, src []byte) error {
	return o.open(src, func(c Codec, body []byte) error { return c.DecodeTo(w, body) })
}

// open decrypts, and hands over what is still compressed and its codec.
func (o opener) open(src []byte, take func(c Codec, body []byte) error) error {
	h, err := decodeSealHeader(src)
	if err != nil {
		return err
	}
	k, err := o.s.key(h)
	if err != nil {
		return err
	}
	aead, err := k.aead(h.salt)
	if err != nil {
		return err
	}
	buf := plain.Get().(*[]byte)
	defer plain.Put(buf)
	body, err := aead.Open((*buf)[:0], noNonce[:], src[h.size:], src[:h.size])
	if err != nil {
		return errors.New("its content is not what was encrypted")
	}
	*buf = body[:0]
	codec, err := o.s.codecs.Sniff(body)
	if err != nil {
		return err
	}
	return take(codec, body)
}

// walTag lets whoever archives, and can't decrypt, tell whether the same file is there already: a hash of the whole file
// that is keyed with whose and which file it is. It confirms a guess of all of a segment's bytes, and tells nothing else.
func (c Cluster) walTag(name string, data []byte) []byte {
	key := sha256.Sum256([]byte(c.System.String() + "/" + name))
	m := hmac.New(sha256.New, key[:])
	_, _ = m.Write(data) // never fails
	return m.Sum(nil)[:tagSize]
}
