package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// slab is a run of file content as it came from the source: what is hashed, compared and compressed together.
type slab struct {
	buf   []byte
	parts []part
}

// part is a piece of one file in a slab.
type part struct {
	file int   // index of the File
	off  int64 // in the file, a multiple of ChunkSize
	at   int   // in buf
	n    int
	old  *cursor
}

// pipeline turns a source's files into units: one reader, several workers that hash, compare and compress, one packer.
type pipeline struct {
	src     Source
	codec   Codec
	prev    *previous
	packer  *packer
	meter   *meter
	workers int
	unit    int   // bytes that are compressed at once
	spaces  *Head // for the tablespaces' locations

	files     []File
	bytesRead int64
	slabs     chan *slab
	free      chan *slab
	packed    chan packedUnit
	bufs      sync.Pool // compressed units

	nextUnit atomic.Uint32
	mu       sync.Mutex
	layouts  []layout // by file
}

// run moves everything that read hands over and returns when all packs are durable.
func (p *pipeline) run(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.slabs = make(chan *slab, p.workers)
	p.free = make(chan *slab, 2*p.workers+1)
	p.packed = make(chan packedUnit, p.workers)
	for range cap(p.free) {
		p.free <- &slab{buf: make([]byte, 0, p.unit)}
	}
	var workers sync.WaitGroup
	for range p.workers {
		workers.Go(func() {
			if err := p.work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	go func() { workers.Wait(); close(p.packed) }()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		for u := range p.packed {
			if ctx.Err() != nil {
				continue // drain, so that no worker waits
			}
			if err := p.packer.add(u); err != nil {
				cancel(err)
			}
			p.bufs.Put(&u.enc)
		}
	}()
	if err := read(ctx); err != nil {
		cancel(err)
	}
	close(p.slabs)
	<-packed
	if err := context.Cause(ctx); err != nil {
		p.packer.abandon(err)
		return err
	}
	return p.packer.finish()
}

// read takes the files from the source and cuts them into slabs.
func (p *pipeline) read(ctx context.Context) error {
	w := &slabWriter{p: p}
	for {
		e, err := p.src.Next()
		if errors.Is(err, io.EOF) {
			return p.send(ctx, w.s)
		}
		if err != nil {
			return err
		}
		p.files = append(p.files, e.File)
		p.expect(e.Size)
		if err := p.readFile(ctx, w, len(p.files)-1, e); err != nil {
			return fmt.Errorf("read %s: %w", e.Path, err)
		}
	}
}

// readFile takes one file: what the source has of it, and what the earlier backup has.
func (p *pipeline) readFile(ctx context.Context, w *slabWriter, file int, e Entry) error {
	w.begin(file)
	if !e.Partial {
		return p.take(ctx, w, 0, e.Size)
	}
	at := int64(0)
	for i := 0; i < len(e.Changed); {
		first, n := e.Changed[i], int64(0)
		for ; i < len(e.Changed) && e.Changed[i] == first+uint32(n); i++ {
			n++
		}
		off := int64(first) * ChunkSize
		if off < at {
			return errors.New("the source names its changes in a wrong order")
		}
		if err := w.keep(ctx, at, off-at); err != nil {
			return err
		}
		if err := p.take(ctx, w, off, n*ChunkSize); err != nil {
			return err
		}
		at = off + n*ChunkSize
	}
	return w.keep(ctx, at, e.Size-at)
}

// take reads n bytes at off of the present file from the source.
func (p *pipeline) take(ctx context.Context, w *slabWriter, off, n int64) error {
	p.bytesRead += n
	return w.write(ctx, p.src, off, n)
}

func (p *pipeline) newSlab(ctx context.Context) (*slab, error) {
	select {
	case s := <-p.free:
		s.buf, s.parts = s.buf[:0], s.parts[:0]
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pipeline) send(ctx context.Context, s *slab) error {
	if s == nil {
		return nil
	}
	select {
	case p.slabs <- s:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// work handles slabs until there are no more.
func (p *pipeline) work(ctx context.Context) error {
	acc := &unit{buf: make([]byte, 0, p.unit)} // changed chunks among unchanged ones
	whole := &unit{}
	old := map[int64]oldChunk{}
	for s := range p.slabs {
		if ctx.Err() != nil {
			continue // drain
		}
		places, err := p.sort(ctx, s, acc, whole, old)
		if err != nil {
			return err
		}
		if err := p.place(places); err != nil {
			return err
		}
		p.free <- s
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.flush(acc)
}

// unit is one that is being filled.
type unit struct {
	buf    []byte
	chunks []chunk
	places []placed
}

func (u *unit) reset() { u.buf, u.chunks, u.places = u.buf[:0], u.chunks[:0], u.places[:0] }

// sort separates a slab's changed chunks from the unchanged ones, for which it returns the places. A slab without any
// unchanged chunk becomes a unit as it is; otherwise the changed ones are collected in acc.
func (p *pipeline) sort(ctx context.Context, s *slab, acc, whole *unit, old map[int64]oldChunk) ([]placed, error) {
	whole.buf, whole.chunks, whole.places = s.buf, whole.chunks[:0], whole.places[:0]
	var kept []placed
	for _, pt := range s.parts {
		clear(old)
		if pt.old != nil {
			if err := pt.old.chunks(ctx, pt.off, int64(pt.n), old); err != nil {
				return nil, fmt.Errorf("compare with the previous backup: %w", err)
			}
		}
		for i := 0; i < pt.n; i += ChunkSize {
			b := s.buf[pt.at+i : pt.at+min(i+ChunkSize, pt.n)]
			k := chunk{uint32(len(b)), XXH64(b)}
			off := pt.off + int64(i)
			if o, ok := old[off]; ok && o.chunk == k {
				kept = append(kept, placed{pt.file, off, Extent{o.unit, o.off, k.len}, true})
				continue
			}
			whole.chunks = append(whole.chunks, k)
			whole.places = append(whole.places, placed{pt.file, off, Extent{0, uint32(pt.at + i), k.len}, false})
		}
	}
	if len(kept) == 0 {
		return nil, p.flush(whole)
	}
	kept = coalesce(kept)
	for i, pl := range whole.places {
		if len(acc.buf)+int(pl.ext.Len) > cap(acc.buf) {
			if err := p.flush(acc); err != nil {
				return nil, err
			}
		}
		at := pl.ext.Off
		pl.ext.Off = uint32(len(acc.buf))
		acc.buf = append(acc.buf, s.buf[at:at+pl.ext.Len]...)
		acc.chunks = append(acc.chunks, whole.chunks[i])
		acc.places = append(acc.places, pl)
	}
	return kept, nil
}

// flush compresses a unit and hands it to the packer.
func (p *pipeline) flush(u *unit) error {
	if len(u.buf) == 0 {
		return nil
	}
	id := p.nextUnit.Add(1) - 1
	dst, ok := p.bufs.Get().(*[]byte)
	if !ok {
		b := make([]byte, 0, p.unit/2)
		dst = &b
	}
	enc, err := encodeTrusted(p.codec, (*dst)[:0], u.buf)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	p.packed <- packedUnit{id, enc, uint32(len(u.buf)), XXH64(u.buf), append([]chunk(nil), u.chunks...)}
	places := coalesce(u.places)
	for i := range places {
		places[i].ext.Unit = id
	}
	err = p.place(places)
	u.reset()
	return err
}
