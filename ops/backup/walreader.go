package backup

import (
	"context"
	"errors"
)

// WALReader reads archived files of the log, one after the other, into the same memory.
type WALReader struct {
	Cluster Cluster

	enc, data []byte
}

// FetchWhole is that of Cluster. What it returns is valid up to the next call.
func (r *WALReader) FetchWhole(ctx context.Context, name string) ([]byte, error) {
	f, err := ParseWALFile(name)
	if err != nil {
		return nil, err
	}
	c := r.Cluster
	if r.enc, err = readAll(ctx, c.Store, c.walKey(name, f), maxSegment+1<<20, r.enc); err != nil {
		return nil, err
	}
	if r.data, err = c.decodeWAL(r.data, r.enc); err == nil {
		err = c.checkWAL(name, f, r.data)
	}
	if err != nil {
		return nil, damaged(name+" in "+c.Where, err)
	}
	return r.data, nil
}

// decodeWAL decodes one file into buf's memory where it fits.
func (c Cluster) decodeWAL(buf, enc []byte) ([]byte, error) {
	codec, err := c.Codecs.Sniff(enc)
	if err != nil {
		return nil, err
	}
	if cap(buf) < usualSegment {
		buf = make([]byte, 0, usualSegment)
	}
	data, err := codec.Decode(buf[:0], enc)
	for n := cap(buf); errors.Is(err, ErrTooLong) && n < maxSegment; {
		n = min(4*n, maxSegment)
		data, err = codec.Decode(make([]byte, 0, n), enc)
	}
	return data, err
}
