package pgwire

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// manifestWriter sends a text to the server in messages of a bounded size, and sums it up.
type manifestWriter struct {
	c   *conn
	buf bytes.Buffer
	sum hash.Hash
	err error
}

const manifestMessage = 64 << 10

func newManifestWriter(c *conn) *manifestWriter { return &manifestWriter{c: c, sum: sha256.New()} }

// printf appends to the text. An error is kept for end.
func (w *manifestWriter) printf(format string, args ...any) {
	fmt.Fprintf(&w.buf, format, args...)
	if w.buf.Len() >= manifestMessage {
		w.flush()
	}
}

func (w *manifestWriter) flush() {
	if w.err != nil {
		return
	}
	if _, w.err = w.sum.Write(w.buf.Bytes()); w.err == nil {
		w.err = w.c.send('d', w.buf.Bytes())
	}
	w.buf.Reset()
}

// hash is the SHA-256 of all text so far.
func (w *manifestWriter) hash() []byte {
	w.flush()
	return w.sum.Sum(nil)
}

// end sends what is left and says that this was all.
func (w *manifestWriter) end() error {
	w.flush()
	if w.err != nil {
		return w.err
	}
	return w.c.send('c', nil)
}
