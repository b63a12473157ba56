package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ErrNotFound is returned, wrapped, when a key isn't in a Store.
var ErrNotFound = errors.New("not found")

// ErrExists is returned, wrapped, by a conditional Put when the key is already there.
var ErrExists = errors.New("already exists")

// PutOptions says how an object is to be written.
type PutOptions struct {
	// IfAbsent makes the Put fail with ErrExists, and change nothing, when the key is already there. Of several
	// writers racing for one key exactly one succeeds.
	IfAbsent bool
}

// Object is what a Store knows of one key without reading it.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Store keeps named, immutable byte strings. Keys are slash-separated paths without empty, "." or ".." elements.
//
// An object becomes visible whole or not at all: a reader never sees part of one, not even when its writer was killed.
// When Put returns nil the object is durable. Reading after a finished write sees that write.
type Store interface {
	// Put stores all that r yields under key. An error from r leaves nothing behind.
	Put(ctx context.Context, key string, r io.Reader, o PutOptions) error
	// Get reads n bytes of key from off; a negative n reads to the end. A range that starts at or behind the end, or
	// that reaches over it, yields what there is. Fails with ErrNotFound for an unknown key.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// List yields the objects whose keys begin with prefix (not necessarily a whole element), in ascending byte order.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Delete removes the keys. One that isn't there is no error. Those that are protected against it stay, which a
	// LockedError tells once the others are gone.
	Delete(ctx context.Context, keys ...string) error
}

// ReadAll reads one whole object of at most limit bytes; a longer one is an error.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	return readAll(ctx, s, key, limit, nil)
}

// readAll reads into buf's memory where the object fits.
func readAll(ctx context.Context, s Store, key string, limit int64, buf []byte) ([]byte, error) {
	r, err := s.Get(ctx, key, 0, limit+1)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(buf[:0])
	if sized, ok := r.(interface{ Size() int64 }); ok && sized.Size() >= 0 {
		b.Grow(int(min(sized.Size(), limit)) + bytes.MinRead) // exactly what is needed
	}
	_, err = b.ReadFrom(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, &TooLargeError{Key: key, Limit: limit}
	}
	return b.Bytes(), nil
}

// TooLargeError reports an object that is longer than its kind can be.
type TooLargeError struct {
	Key   string
	Limit int64 // bytes
}

func (e *TooLargeError) Error() string {
	return "object " + e.Key + " is larger than anything of its kind: it was not written by covet, or is damaged"
}

// LockedError reports objects that their store protects against deletion.
type LockedError struct {
	Keys  []string
	Until time.Time // the latest end of the protection; zero: not known
}

// Add names one more.
func (e *LockedError) Add(key string, until time.Time) {
	e.Keys = append(e.Keys, key)
	if until.After(e.Until) {
		e.Until = until
	}
}

// OrNil is the error, or nil where nothing is locked.
func (e *LockedError) OrNil() error {
	if len(e.Keys) == 0 {
		return nil
	}
	return e
}

func (e *LockedError) Error() string {
	msg := fmt.Sprintf("%d objects are locked against deletion, such as %s", len(e.Keys), e.Keys[0])
	if !e.Until.IsZero() {
		msg += ", until " + e.Until.UTC().Format(time.RFC3339)
	}
	return msg
}
