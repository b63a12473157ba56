package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// slabWriter puts files' content into slabs, one after the other.
type slabWriter struct {
	p    *pipeline
	s    *slab // that is being filled
	file int
	old  *cursor

	unit uint32 // of the previous manifest, that is in raw
	raw  []byte
}

// begin turns to a file.
func (w *slabWriter) begin(file int) {
	w.file = file
	w.old = w.p.prev.open(keyOf(w.p.spaces, &w.p.files[file]))
}

// write appends n bytes from r, which are those of the file at off, a multiple of ChunkSize.
func (w *slabWriter) write(ctx context.Context, r io.Reader, off, n int64) error {
	for end := off + n; off < end; {
		if w.s == nil {
			var err error
			if w.s, err = w.p.newSlab(ctx); err != nil {
				return err
			}
		}
		k := min(end-off, int64(cap(w.s.buf)-len(w.s.buf)))
		if k < end-off {
			k -= k % ChunkSize // a chunk is never divided
		}
		if k == 0 {
			if err := w.p.send(ctx, w.s); err != nil {
				return err
			}
			w.s = nil
			continue
		}
		at := len(w.s.buf)
		w.s.buf = w.s.buf[:at+int(k)]
		if _, err := io.ReadFull(r, w.s.buf[at:]); err != nil {
			return err
		}
		w.s.parts = append(w.s.parts, part{w.file, off, at, int(k), w.old})
		off += k
		w.p.meter.add(int(k), w.p.packer.stored.Load())
	}
	return nil
}

// keep takes n bytes at off from the earlier backup, by reference where it may be referred to; behind its end there are
// zeros.
func (w *slabWriter) keep(ctx context.Context, off, n int64) error {
	if n <= 0 {
		return nil
	}
	if w.old == nil {
		return errors.New("it is said to be partly unchanged, and the earlier backup hasn't got it")
	}
	have := min(max(w.old.f.Size-off, 0), n)
	for i := w.old.extentAt(off); have > 0; i++ {
		e, start := w.old.f.Extents[i], w.old.starts[i]
		skip := uint32(off - start)
		e.Off, e.Len = e.Off+skip, uint32(min(int64(e.Len-skip), have))
		if err := w.keepExtent(ctx, e, off); err != nil {
			return err
		}
		off, n, have = off+int64(e.Len), n-int64(e.Len), have-int64(e.Len)
	}
	if rest := off % ChunkSize; rest != 0 && n > 0 {
		return errors.New("it is said to be longer, and it did not end with a page in the earlier backup")
	}
	return w.write(ctx, zeros{}, off, n)
}

// keepExtent refers to an extent of the earlier backup, or stores it anew where its pack is mostly dead.
func (w *slabWriter) keepExtent(ctx context.Context, e Extent, off int64) error {
	prev := w.p.prev
	if !prev.stale[prev.m.Units[e.Unit].Pack] || off%ChunkSize != 0 {
		w.p.meter.add(int(e.Len), w.p.packer.stored.Load())
		return w.p.place([]placed{{w.file, off, e, true}})
	}
	if w.raw == nil || w.unit != e.Unit {
		var err error
		if w.raw, err = prev.unit(ctx, e.Unit); err != nil {
			return err
		}
		w.unit = e.Unit
	}
	return w.write(ctx, bytes.NewReader(w.raw[e.Off:e.Off+e.Len]), off, int64(e.Len))
}

// zeros reads as zeros without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
