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
	x, lends := r.(Exchanger)
	for end := off + n; off < end; {
		if w.s == nil {
			var err error
			if w.s, err = w.p.newSlab(ctx); err != nil {
				return err
			}
		}
		whole := lends && end-off >= int64(cap(w.s.buf)) // what follows fills a slab of its own, and needs no copy
		k := min(end-off, int64(cap(w.s.buf)-len(w.s.buf)))
		if k < end-off {
			k -= k % ChunkSize // a chunk is never divided
		}
		if k == 0 || whole && len(w.s.buf) > 0 {
			if err := w.p.send(ctx, w.s); err != nil {
				return err
			}
			w.s = nil
			continue
		}
		if !whole {
			x = nil
		}
		if err := w.s.fill(r, x, int(k)); err != nil {
			return err
		}
		w.s.parts = append(w.s.parts, part{w.file, off, len(w.s.buf) - int(k), int(k), w.old})
		off += k
		w.p.meter.add(int(k), w.p.packer.stored.Load())
	}
	return nil
}

// fill appends n bytes from r. An empty slab takes the buffer that x has filled, where there is one.
func (s *slab) fill(r io.Reader, x Exchanger, n int) error {
	at := len(s.buf)
	s.buf = s.buf[:at+n]
	if x != nil {
		full, err := x.Exchange(s.buf)
		if full != nil {
			s.buf = full
		}
		if full != nil || err != nil {
			return err
		}
	}
	_, err := io.ReadFull(r, s.buf[at:])
	return err
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
