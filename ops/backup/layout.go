package backup

import (
	"cmp"
	"errors"
	"slices"
)

// placed says where a piece of a file is: in a new unit, or in one of the previous manifest.
type placed struct {
	file int
	off  int64
	ext  Extent
	old  bool
}

// layout is where the pieces of one file are. They come in any order: workers finish in another than they began, and changed
// chunks wait until there is a unit of them. Once all are there only the extents are kept, which is what bounds the memory
// that a large cluster takes.
type layout struct {
	left    int64 // bytes whose place isn't known yet
	places  []placed
	extents []Extent
}

// oldUnit marks an extent of the previous manifest until the units are numbered.
const oldUnit = 1 << 31

// expect begins the layout of the next file.
func (p *pipeline) expect(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.layouts = append(p.layouts, layout{left: size})
}

// begin begins the layout of a file whose size is known only when it ends: what is left of it is one more than has been
// written, until end.
func (p *pipeline) begin() { p.expect(1) }

// grow tells of n more bytes of such a file. Their place is told afterwards.
func (p *pipeline) grow(file, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.layouts[file].left += int64(n)
}

// end says that nothing more comes of such a file.
func (p *pipeline) end(file int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.layouts[file]
	if l.left--; l.left > 0 {
		return nil
	}
	return l.settle()
}

// place notes where pieces are.
func (p *pipeline) place(places []placed) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pl := range places {
		l := &p.layouts[pl.file]
		l.places = append(l.places, pl)
		if l.left -= int64(pl.ext.Len); l.left > 0 {
			continue
		}
		if err := l.settle(); err != nil {
			return err
		}
	}
	return nil
}

// settle makes extents of the pieces of a file.
func (l *layout) settle() error {
	slices.SortFunc(l.places, func(a, b placed) int { return cmp.Compare(a.off, b.off) })
	places := coalesce(l.places)
	l.extents = make([]Extent, len(places))
	at := int64(0)
	for i, pl := range places {
		if pl.off != at {
			return errors.New("internal: a piece of a file was lost on the way")
		}
		at += int64(pl.ext.Len)
		l.extents[i] = pl.ext
		if pl.old {
			l.extents[i].Unit |= oldUnit
		}
	}
	l.places = nil
	return nil
}

// coalesce joins pieces that follow each other in the same file and the same unit.
func coalesce(in []placed) []placed {
	out := in[:0]
	for _, pl := range in {
		if n := len(out); n > 0 && joins(out[n-1], pl) {
			out[n-1].ext.Len += pl.ext.Len
			continue
		}
		out = append(out, pl)
	}
	return out
}

func joins(a, b placed) bool {
	return a.file == b.file && a.old == b.old && a.ext.Unit == b.ext.Unit && a.off+int64(a.ext.Len) == b.off && a.ext.Off+a.ext.Len == b.ext.Off
}
