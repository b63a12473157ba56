package restore

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/covetpy/covet/ops/backup"
)

// Bytes that are fetched and decompressed at once, before they are handed on; each worker has so many.
const batchSize = 4 << 20

// Pieces reads files of a backup, given by their indexes in its manifest, in their order, several parts of them at a time.
type Pieces struct {
	Cluster  backup.Cluster
	Manifest *backup.Manifest
	Items    []int
	Workers  int
	// To gets the content: bytes of the item, at that place in it. It is called by one goroutine, in order.
	To func(item int, at int64, b []byte) error
}

// batch is a run of content that is fetched at once.
type batch struct {
	needs []need // each unit once
	order []piece
	units []int // of each in order
	raw   map[int][]byte
	err   error
	done  chan struct{}
}

// Run reads everything.
func (p Pieces) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := max(p.Workers, 1)
	queue := make(chan *batch, workers) // in order; bounds what is in memory
	jobs := make(chan *batch)
	go func() {
		defer close(queue)
		defer close(jobs)
		for b := range p.batches() {
			if send(ctx, queue, b) != nil || send(ctx, jobs, b) != nil {
				return
			}
		}
	}()
	for range workers {
		go func() {
			for b := range jobs {
				b.err = p.fetch(ctx, b)
				close(b.done)
			}
		}()
	}
	for b := range queue {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.err != nil {
			return b.err
		}
		for i, pc := range b.order {
			if err := p.To(int(pc.file), pc.at, b.raw[b.units[i]][pc.off:pc.off+pc.n]); err != nil {
				return err
			}
		}
		b.raw = nil
	}
	return ctx.Err()
}

// batches divides what is wanted.
func (p Pieces) batches() iter.Seq[*batch] {
	return func(yield func(*batch) bool) {
		b, size := newBatch(), 0
		for _, item := range p.Items {
			var at int64
			for _, e := range p.Manifest.Items[item].Extents {
				if size >= batchSize {
					if !yield(b) {
						return
					}
					b, size = newBatch(), 0
				}
				if b.add(int(e.Unit), piece{e.Off, e.Len, int32(item), at}) {
					size += int(p.Manifest.Units[e.Unit].Raw)
				}
				at += int64(e.Len)
			}
		}
		if len(b.order) > 0 {
			yield(b)
		}
	}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// add wants a piece of a unit, and says whether the unit is new to the batch.
func (b *batch) add(unit int, pc piece) bool {
	b.order, b.units = append(b.order, pc), append(b.units, unit)
	if slices.ContainsFunc(b.needs, func(n need) bool { return n.unit == unit }) {
		return false
	}
	b.needs = append(b.needs, need{unit: unit})
	return true
}

// fetch brings the units of a batch.
func (p Pieces) fetch(ctx context.Context, b *batch) error {
	b.raw = make(map[int][]byte, len(b.needs))
	m := p.Manifest
	slices.SortFunc(b.needs, func(x, y need) int {
		u, v := m.Units[x.unit], m.Units[y.unit]
		return cmp.Or(cmp.Compare(u.Pack, v.Pack), cmp.Compare(u.Off, v.Off))
	})
	var raw, enc []byte
	for _, run := range runs(m, b.needs) {
		err := fetchUnits(ctx, p.Cluster, m, run, &raw, &enc, func(n need, got []byte) error {
			b.raw[n.unit], raw = got, nil // kept: the next one gets memory of its own
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
