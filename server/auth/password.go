package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// hashing is how dear a password's hash is made: 19 MiB and two passes, as OWASP's Password Storage Cheat Sheet has it.
type hashing struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

var standard = hashing{memory: 19 << 10, passes: 2, lanes: 1}

const (
	saltBytes = 16
	hashBytes = 32
	maxMemory = 1 << 20 // KiB that a hash in a file may ask for
	// MaxPassword is the longest password, in bytes.
	MaxPassword = 1024
)

var encoding = base64.RawStdEncoding

// HashPassword returns the argon2id hash of a password in PHC format: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
func HashPassword(password string) (string, error) {
	if password == "" || len(password) > MaxPassword {
		return "", fmt.Errorf("a password has 1 to %d bytes", MaxPassword)
	}
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	return standard.format(salt, standard.key(password, salt, hashBytes)), nil
}

func (h hashing) key(password string, salt []byte, size int) []byte {
	return argon2.IDKey([]byte(password), salt, h.passes, h.memory, h.lanes, uint32(size))
}

func (h hashing) format(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		encoding.EncodeToString(salt), encoding.EncodeToString(key))
}

// parsedHash is a hash taken apart.
type parsedHash struct {
	hashing
	salt, key []byte
}

func parseHash(text string) (parsedHash, error) {
	var p parsedHash
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errors.New("is no argon2id hash")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil {
		return p, errors.New("has broken parameters")
	}
	if p.memory < 8 || p.memory > maxMemory || p.passes < 1 || p.passes > 100 || p.lanes < 1 {
		return p, errors.New("has parameters out of range")
	}
	var err error
	if p.salt, err = encoding.DecodeString(parts[4]); err != nil || len(p.salt) < 8 {
		return p, errors.New("has a broken salt")
	}
	if p.key, err = encoding.DecodeString(parts[5]); err != nil || len(p.key) < 16 {
		return p, errors.New("has a broken key")
	}
	return p, nil
}

// passwords checks passwords, a few at a time: each takes 19 MiB and tens of milliseconds, which a flood of wrong ones
// would multiply.
type passwords struct {
	turns chan struct{}
	none  parsedHash // compared to where there is no such user, so that both take equally long
}

func newPasswords() *passwords {
	return &passwords{
		turns: make(chan struct{}, runtime.GOMAXPROCS(0)),
		none:  parsedHash{standard, make([]byte, saltBytes), make([]byte, hashBytes)},
	}
}

// patience is how long a password waits for its turn.
const patience = 5 * time.Second

// match compares a password to a hash, nil for that of nobody.
func (p *passwords) match(ctx context.Context, hash *parsedHash, password string) (bool, error) {
	if len(password) > MaxPassword {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return false, fmt.Errorf("%w: too many passwords wait to be checked", ErrUnavailable)
	}
	known := hash != nil
	if !known {
		hash = &p.none
	}
	got := hash.hashing.key(password, hash.salt, len(hash.key))
	return subtle.ConstantTimeCompare(got, hash.key) == 1 && known, nil
}
