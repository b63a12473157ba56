package restore

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/covetpy/covet/ops/backup"
)

// Units that lie this near each other in a pack are fetched with one request of at most runLimit bytes.
const (
	runGap   = 128 << 10
	runLimit = 8 << 20
)

// piece is a part of a unit and where it goes.
type piece struct {
	off, n uint32 // in the uncompressed unit
	file   int32  // index into the manifest's items
	at     int64  // in the file
}

// need is a unit and its pieces.
type need struct {
	unit   int
	pieces []piece
}

// needs turns a manifest around: what is to be done with each unit, in the order of the packs.
func needs(m *backup.Manifest) []need {
	out := make([]need, len(m.Units))
	for i := range m.Items {
		var at int64
		for _, e := range m.Items[i].Extents {
			out[e.Unit].pieces = append(out[e.Unit].pieces, piece{e.Off, e.Len, int32(i), at})
			at += int64(e.Len)
		}
	}
	for i := range out {
		out[i].unit = i
		slices.SortFunc(out[i].pieces, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	}
	slices.SortFunc(out, func(a, b need) int {
		x, y := m.Units[a.unit], m.Units[b.unit]
		return cmp.Or(cmp.Compare(x.Pack, y.Pack), cmp.Compare(x.Off, y.Off))
	})
	return slices.DeleteFunc(out, func(n need) bool { return len(n.pieces) == 0 })
}

// runs divides needs into those that one request brings.
func runs(m *backup.Manifest, ns []need) [][]need {
	var out [][]need
	for i, n := range ns {
		u := m.Units[n.unit]
		if i > 0 {
			last := out[len(out)-1]
			first, prev := m.Units[last[0].unit], m.Units[ns[i-1].unit]
			if prev.Pack == u.Pack && u.Off-(prev.Off+prev.Len) <= runGap && u.Off+u.Len-first.Off <= runLimit {
				out[len(out)-1] = append(last, n)
				continue
			}
		}
		out = append(out, ns[i:i+1:i+1])
	}
	return out
}

// fetch brings the content of all files.
func (w *copier) fetch(ctx context.Context) error {
	w.report("copy")
	jobs := make(chan []need)
	return parallel(ctx, w.Workers, func(ctx context.Context) error {
		defer close(jobs)
		for _, run := range spread(runs(w.Manifest, needs(w.Manifest)), w.Workers) {
			if err := send(ctx, jobs, run); err != nil {
				return err
			}
		}
		return nil
	}, func(ctx context.Context) (err error) {
		fw := &fileWriter{w: w}
		defer func() { err = errors.Join(err, fw.close()) }()
		var raw, enc []byte
		for run := range jobs {
			if w.Existing {
				if run, err = w.absent(run, fw, &raw); err != nil {
					return err
				}
			}
			for _, part := range runs(w.Manifest, run) {
				if err := w.fetchRun(ctx, part, fw, &raw, &enc); err != nil {
					return err
				}
			}
			w.report("copy")
		}
		return nil
	})
}

// spread orders the runs so that those which are under way at the same time lie far from each other, in different files most of the time:
// who writes into a file through the page cache keeps everybody else from it, who would wait with a busy processor.
func spread[T any](all []T, lanes int) []T {
	out := make([]T, 0, len(all))
	each := (len(all) + lanes - 1) / lanes
	for i := range each {
		for lane := range lanes {
			if n := lane*each + i; n < min(len(all), (lane+1)*each) {
				out = append(out, all[n])
			}
		}
	}
	return out
}

// fetchRun brings the units of one request.
func (w *copier) fetchRun(ctx context.Context, run []need, fw *fileWriter, raw, enc *[]byte) error {
	return fetchUnits(ctx, w.Cluster, w.Manifest, run, raw, enc, func(n need, b []byte) error {
		w.fetched.Add(int64(w.Manifest.Units[n.unit].Len))
		for _, p := range n.pieces {
			if err := fw.write(p, b[p.off:p.off+p.n]); err != nil {
				return err
			}
		}
		return nil
	})
}

// fetchUnits brings units that lie near each other in a pack with one request, and hands each over, decompressed.
func fetchUnits(ctx context.Context, c backup.Cluster, m *backup.Manifest, run []need, raw, enc *[]byte, take func(n need, raw []byte) error) (err error) {
	first, last := m.Units[run[0].unit], m.Units[run[len(run)-1].unit]
	rc, err := c.OpenPack(ctx, m.Packs[first.Pack].Name, int64(first.Off), int64(last.Off+last.Len-first.Off))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	r := bufio.NewReaderSize(rc, 64<<10)
	at := first.Off
	for _, n := range run {
		u := m.Units[n.unit]
		if _, err := r.Discard(int(u.Off - at)); err != nil {
			return cutOff(m.Packs[u.Pack].Name, err)
		}
		*enc = slices.Grow((*enc)[:0], int(u.Len))[:u.Len]
		if _, err := io.ReadFull(r, *enc); err != nil {
			return cutOff(m.Packs[u.Pack].Name, err)
		}
		at = u.Off + u.Len
		if *raw, err = c.ReadUnit(m, n.unit, *enc, *raw); err != nil {
			return err
		}
		if err := take(n, *raw); err != nil {
			return err
		}
	}
	return nil
}

func cutOff(pack string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: pack %s is shorter than it was", backup.ErrDamaged, pack)
	}
	return err
}

// absent returns those of the run whose content isn't in the files already. Only a unit that is used whole can be told,
// by its hash.
func (w *copier) absent(run []need, fw *fileWriter, raw *[]byte) ([]need, error) {
	var out []need
	for _, n := range run {
		u := w.Manifest.Units[n.unit]
		*raw = slices.Grow((*raw)[:0], int(u.Raw))[:u.Raw]
		same := true
		at := uint32(0)
		for _, p := range n.pieces {
			if p.off != at {
				same = false
				break
			}
			if err := fw.read(p, (*raw)[at:at+p.n]); err != nil {
				return nil, err
			}
			at += p.n
		}
		if same && at == u.Raw && backup.XXH64(*raw) == u.Hash {
			w.kept.Add(int64(u.Raw))
			continue
		}
		out = append(out, n)
	}
	return out, nil
}
