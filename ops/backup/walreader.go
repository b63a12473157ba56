package backup

import (
	"context"
	"errors"
	"io"
	"strings"
)

// WALReader reads archived files of the log, one after the other, into the same memory.
type WALReader struct {
	Cluster Cluster

	enc []byte
}

// Read brings one archived file as it is stored. What it returns is valid up to the next call: it decodes the file into a
// writer, a segment a little at a time, so that it is never in memory whole, and checks that it is what was archived. Where it
// isn't it fails with ErrDamaged, and what was written by then is worth nothing. Read itself fails with ErrNotFound for a file
// that isn't there.
func (r *WALReader) Read(ctx context.Context, name string) (io.WriterTo, error) {
	f, err := ParseWALFile(name)
	if err != nil {
		return nil, err
	}
	c := r.Cluster
	if r.enc, err = readAll(ctx, c.Store, c.walKey(name, f), maxSegment+1<<20, r.enc); err != nil {
		return nil, err
	}
	return &storedWAL{c, name, f, r.enc}, nil
}

// storedWAL is a file of the log as it is stored.
type storedWAL struct {
	c    Cluster
	name string
	file WALFile
	enc  []byte
}

// WriteTo implements io.WriterTo.
func (s *storedWAL) WriteTo(w io.Writer) (int64, error) {
	passed := &walCheck{w: w, limit: maxSegment}
	err := s.decode(passed)
	if err == nil && s.file.segment() {
		err = s.c.checkSegment(s.name, passed.head, passed.n)
	}
	if err != nil && passed.err == nil {
		err = damaged(s.name+" in "+s.c.Where, err)
	}
	return passed.n, err
}

func (s *storedWAL) decode(w io.Writer) error {
	codec, err := s.c.Codecs.Sniff(s.enc)
	if err != nil {
		return err
	}
	if s.file.segment() {
		return codec.DecodeTo(w, s.enc)
	}
	data, err := s.c.decodeWAL(s.enc)
	if err == nil {
		err = s.c.checkWAL(s.name, s.file, data)
	}
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// walCheck passes a segment on, keeps its header, and never lets it grow over the size that the header tells.
type walCheck struct {
	w     io.Writer
	head  []byte
	n     int64
	limit int64
	err   error // of w
}

func (k *walCheck) Write(b []byte) (int, error) {
	if len(k.head) < segmentHeaderSize {
		k.head = append(k.head, b[:min(len(b), segmentHeaderSize-len(k.head))]...)
		if h, err := ParseSegmentHeader(k.head); err == nil {
			k.limit = h.Size
		}
	}
	if k.n += int64(len(b)); k.n > k.limit {
		return 0, ErrTooLong
	}
	var n int
	n, k.err = k.w.Write(b)
	return n, k.err
}

// checkSegment checks that what begins with head is the segment of that name, and of this cluster.
func (c Cluster) checkSegment(name string, head []byte, size int64) error {
	h, err := checkSegmentHead(strings.TrimSuffix(name, ".partial"), head, size)
	if err == nil && h.System != c.System {
		err = &ForeignWALError{name, c.System, h.System}
	}
	return err
}

// decodeWAL decodes one file.
func (c Cluster) decodeWAL(enc []byte) ([]byte, error) {
	codec, err := c.Codecs.Sniff(enc)
	if err != nil {
		return nil, err
	}
	data, err := codec.Decode(make([]byte, 0, usualSegment), enc)
	for n := usualSegment; errors.Is(err, ErrTooLong) && n < maxSegment; {
		n = min(4*n, maxSegment)
		data, err = codec.Decode(make([]byte, 0, n), enc)
	}
	return data, err
}
