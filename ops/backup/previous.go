package backup

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// A pack of which less than this part is still in use isn't referred to again: its live chunks are stored anew, and the
// pack goes when the older backups do.
const minLive = 0.25

// previous answers whether a chunk is the same as in an earlier backup, and where that one is.
type previous struct {
	c     Cluster
	m     *Manifest
	files map[fileKey]*File
	stale []bool // by pack: mostly dead
	index *indexCache
	warn  func(error)

	mu   sync.Mutex
	hurt map[uint32]bool // packs that can't be referred to
}

type fileKey struct {
	space string // the tablespace's location: OIDs are the same in restored copies too, but the order may differ
	path  string
}

func keyOf(h *Head, f *File) fileKey {
	if f.Space == 0 {
		return fileKey{"", f.Path}
	}
	return fileKey{h.Tablespaces[f.Space-1].Location, f.Path}
}

func newPrevious(c Cluster, m *Manifest, warn func(error)) *previous {
	p := &previous{c: c, m: m, files: make(map[fileKey]*File, len(m.Items)), stale: stalePacks(m), warn: warn, hurt: map[uint32]bool{}}
	for i := range m.Items {
		if f := &m.Items[i]; f.Type == TypeFile {
			p.files[keyOf(&m.Head, f)] = f
		}
	}
	p.index = newIndexCache(32, func(ctx context.Context, pack uint32) (*packIndex, error) { return c.readPackIndex(ctx, m.Packs[pack]) })
	return p
}

// stalePacks finds the packs that the manifest uses too little of.
func stalePacks(m *Manifest) []bool {
	used := make([]int64, len(m.Units)) // uncompressed bytes in use
	for _, f := range m.Items {
		for _, e := range f.Extents {
			used[e.Unit] += int64(e.Len)
		}
	}
	live := make([]float64, len(m.Packs)) // compressed bytes in use
	for i, u := range m.Units {
		if u.Raw > 0 {
			live[u.Pack] += float64(u.Len) * float64(used[i]) / float64(u.Raw)
		}
	}
	stale := make([]bool, len(m.Packs))
	for i, p := range m.Packs {
		stale[i] = live[i] < minLive*float64(p.Size)
	}
	return stale
}

// readPackIndex reads what a pack says of its units.
func (c Cluster) readPackIndex(ctx context.Context, p Pack) (*packIndex, error) {
	read := func(off, n int64) ([]byte, error) {
		r, err := c.OpenPack(ctx, p.Name, off, n)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		return b, errors.Join(err, r.Close())
	}
	b, err := read(max(p.Size-footerSize, 0), footerSize)
	if err != nil {
		return nil, err
	}
	f, err := decodePackFooter(b, p.Size)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, p.Name, err)
	}
	if b, err = read(int64(f.off), int64(f.clen)); err != nil {
		return nil, err
	}
	if XXH64(b) != f.indexHash {
		return nil, fmt.Errorf("%w: %s: its index doesn't match its hash", ErrDamaged, p.Name)
	}
	codec, err := c.Codecs.Sniff(b)
	if err != nil {
		return nil, damaged(p.Name, err)
	}
	raw, err := decodeExactly(codec, b, uint64(f.rlen))
	if err != nil {
		return nil, damaged(p.Name+": its index", err)
	}
	return decodePackIndex(raw)
}

// cursor walks the chunks of one earlier file in step with its present content.
type cursor struct {
	p      *previous
	f      *File
	starts []int64 // of the extents, in the file
}

// open returns the cursor on a file; nil where the earlier backup hasn't got it.
func (p *previous) open(key fileKey) *cursor {
	if p == nil {
		return nil
	}
	f := p.files[key]
	if f == nil {
		return nil
	}
	c := &cursor{p: p, f: f, starts: make([]int64, len(f.Extents))}
	var at int64
	for i, e := range f.Extents {
		c.starts[i] = at
		at += int64(e.Len)
	}
	return c
}

// extentAt is the number of the extent that off lies in.
func (c *cursor) extentAt(off int64) int {
	i, found := slices.BinarySearch(c.starts, off)
	if !found {
		i--
	}
	return i
}

// unit reads one unit of the earlier backup.
func (p *previous) unit(ctx context.Context, unit uint32) ([]byte, error) {
	u := p.m.Units[unit]
	r, err := p.c.OpenPack(ctx, p.m.Packs[u.Pack].Name, int64(u.Off), int64(u.Len))
	if err != nil {
		return nil, err
	}
	enc, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return p.c.ReadUnit(p.m, int(unit), enc, nil)
}

// oldChunk is a chunk of the earlier backup.
type oldChunk struct {
	unit uint32
	off  uint32 // in the unit
	chunk
}

// chunks returns what the earlier backup has of the file from off for n bytes, by offset in the file, as far as it may
// be referred to. off is a multiple of ChunkSize.
func (c *cursor) chunks(ctx context.Context, off, n int64, out map[int64]oldChunk) error {
	for i := c.extentAt(off); i >= 0 && i < len(c.starts) && c.starts[i] < off+n; i++ {
		e := c.f.Extents[i]
		u := c.p.m.Units[e.Unit]
		if c.p.stale[u.Pack] {
			continue
		}
		x, err := c.p.index.get(ctx, u.Pack)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		unit, ok := 0, false
		if err == nil {
			unit, ok = x.find(u)
		}
		if !ok {
			c.p.avoid(u.Pack, err)
			continue
		}
		at := uint32(0)
		for _, k := range x.chunksOf(unit) {
			if pos := c.starts[i] + int64(at) - int64(e.Off); at >= e.Off && at+k.len <= e.Off+e.Len && pos >= off {
				out[pos] = oldChunk{e.Unit, at, k}
			}
			at += k.len
		}
	}
	return nil
}

// avoid says once that a pack is damaged: what would be the same there is stored anew.
func (p *previous) avoid(pack uint32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hurt[pack] {
		p.hurt[pack] = true
		p.warn(fmt.Errorf("%s is damaged, and is not referred to; covetctl backup verify says which backups need it: %w", p.m.Packs[pack].Name, cmp.Or(err, ErrDamaged)))
	}
}

// find returns the number, in the pack, of a manifest's unit.
func (x *packIndex) find(u Unit) (int, bool) {
	i, ok := slices.BinarySearchFunc(x.offsets(), u.Off, cmp.Compare[uint32])
	return i, ok && x.units[i].hash == u.Hash && x.units[i].rlen == u.Raw
}

// offsets returns where each unit begins in the pack.
func (x *packIndex) offsets() []uint32 {
	x.once.Do(func() {
		at := uint32(len(packMagic))
		for _, u := range x.units {
			x.offs = append(x.offs, at)
			at += u.clen
		}
	})
	return x.offs
}

// indexCache keeps the indexes of the packs used last, and reads one only once at a time.
type indexCache struct {
	read  func(ctx context.Context, pack uint32) (*packIndex, error)
	limit int

	mu    sync.Mutex
	order *list.List // of *cached; the one used last in front
	by    map[uint32]*list.Element
}

type cached struct {
	pack uint32
	once sync.Once
	x    *packIndex
	err  error
}

func newIndexCache(limit int, read func(context.Context, uint32) (*packIndex, error)) *indexCache {
	return &indexCache{read: read, limit: limit, order: list.New(), by: map[uint32]*list.Element{}}
}

func (c *indexCache) get(ctx context.Context, pack uint32) (*packIndex, error) {
	c.mu.Lock()
	el, ok := c.by[pack]
	if ok {
		c.order.MoveToFront(el)
	} else {
		el = c.order.PushFront(&cached{pack: pack})
		c.by[pack] = el
		if c.order.Len() > c.limit {
			delete(c.by, c.order.Remove(c.order.Back()).(*cached).pack)
		}
	}
	c.mu.Unlock()
	e := el.Value.(*cached)
	e.once.Do(func() { e.x, e.err = c.read(ctx, pack) })
	return e.x, e.err
}
