package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
)

// packedUnit is a compressed unit on its way into a pack.
type packedUnit struct {
	id     uint32
	enc    []byte
	raw    uint32
	hash   uint64
	chunks []chunk
}

// packer writes units into packs, one pack after the other; an upload may still be ending while the next pack begins.
type packer struct {
	ctx    context.Context
	c      Cluster
	codec  Codec
	backup string
	limit  int64

	packs  []Pack
	units  []Unit // by unit id; Pack is an index into packs
	stored atomic.Int64

	open *openPack
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error
	slot chan struct{} // bounds uploads at once
}

type openPack struct {
	w     *io.PipeWriter
	sum   hash.Hash
	size  int64
	index packIndex
	name  string
}

func newPacker(ctx context.Context, c Cluster, codec Codec, backup string) *packer {
	return &packer{ctx: ctx, c: c, codec: codec, backup: backup, limit: PackSize, slot: make(chan struct{}, 2)}
}

// add writes one unit. It is called from one goroutine.
func (p *packer) add(u packedUnit) error {
	if p.open == nil {
		if err := p.begin(); err != nil {
			return err
		}
	}
	o := p.open
	if n := int(u.id) + 1 - len(p.units); n > 0 { // workers finish in another order than they began
		p.units = append(p.units, make([]Unit, n)...)
	}
	p.units[u.id] = Unit{Pack: uint32(len(p.packs)), Off: uint32(o.size), Len: uint32(len(u.enc)), Raw: u.raw, Hash: u.hash}
	o.index.add(len(u.enc), int(u.raw), u.hash, u.chunks)
	if err := p.write(u.enc); err != nil {
		return err
	}
	if o.size >= p.limit {
		return p.close()
	}
	return nil
}

func (p *packer) begin() error {
	select {
	case p.slot <- struct{}{}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	r, w := io.Pipe()
	name := fmt.Sprintf("%s-%04d", p.backup, len(p.packs)+1)
	p.open = &openPack{w: w, sum: sha256.New(), name: name}
	p.wg.Go(func() {
		defer func() { <-p.slot }()
		err := p.c.Store.Put(p.ctx, p.c.packKey(name), r, PutOptions{IfAbsent: true})
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.err == nil {
				p.err = fmt.Errorf("store pack %s: %w", name, err)
			}
			err = p.err
		}
		_ = r.CloseWithError(err) // never fails
	})
	return p.write([]byte(packMagic))
}

func (p *packer) write(b []byte) error {
	o := p.open
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	if _, err := o.sum.Write(b); err != nil {
		return err
	}
	o.size += int64(len(b))
	p.stored.Add(int64(len(b)))
	return nil
}

// close ends the open pack with its index and footer; the upload goes on.
func (p *packer) close() error {
	o := p.open
	raw := o.index.encode()
	enc, err := p.codec.Encode(nil, raw)
	if err != nil {
		return fmt.Errorf("compress the index of pack %s: %w", o.name, err)
	}
	f := packFooter{off: uint64(o.size), clen: uint32(len(enc)), rlen: uint32(len(raw)), indexHash: XXH64(enc)}
	if err := p.write(f.encode(enc)); err != nil {
		return err
	}
	if err := o.w.Close(); err != nil {
		return err
	}
	pack := Pack{Name: o.name, Size: o.size}
	o.sum.Sum(pack.SHA256[:0])
	p.packs = append(p.packs, pack)
	p.open = nil
	return nil
}

// finish closes the last pack and waits until all are durable.
func (p *packer) finish() error {
	var err error
	if p.open != nil {
		err = p.close()
	}
	if err != nil {
		p.abandon(err)
	}
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	return err
}

// abandon makes the open upload fail, so that it leaves nothing.
func (p *packer) abandon(err error) {
	if p.open != nil {
		_ = p.open.w.CloseWithError(err) // never fails
	}
	p.wg.Wait()
}
