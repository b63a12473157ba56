package pgdump

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// Stored is the dump of one database in a repository.
type Stored struct {
	Cluster  backup.Cluster
	Manifest *backup.Manifest
	Workers  int // that fetch
	Contents *Contents

	toc  int         // index of the item
	data map[int]int // index of the item with an entry's data
}

// Open reads the table of contents of the n-th database, from 0.
func Open(ctx context.Context, c backup.Cluster, m *backup.Manifest, n, workers int) (*Stored, error) {
	s := &Stored{Cluster: c, Manifest: m, Workers: workers, toc: -1, data: map[int]int{}}
	for i, f := range m.Items {
		name, ok := strings.CutPrefix(f.Path, Folder(n))
		if !ok {
			continue
		}
		if name == contentsName {
			s.toc = i
		} else if id, err := strconv.Atoi(strings.TrimSuffix(name, dataSuffix)); err == nil {
			s.data[id] = i
		}
	}
	if s.toc < 0 {
		return nil, fmt.Errorf("%w: backup %s has no table of contents of its database %d", backup.ErrDamaged, m.ID, n+1)
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(s.read(ctx, []int{s.toc}, w)) }() // never fails
	var err error
	s.Contents, err = ReadContents(bufio.NewReader(r))
	_ = r.Close() // never fails
	return s, err
}

// Bytes is how much data an entry has.
func (s *Stored) Bytes(e Entry) int64 {
	if i, ok := s.data[e.ID]; ok {
		return s.Manifest.Items[i].Size
	}
	return 0
}

// read writes items one after the other.
func (s *Stored) read(ctx context.Context, items []int, w io.Writer) error {
	return restore.Pieces{Cluster: s.Cluster, Manifest: s.Manifest, Items: items, Workers: s.Workers, To: func(_ int, _ int64, b []byte) error {
		_, err := w.Write(b)
		return err
	}}.Run(ctx)
}

// items are those that restoring a choice needs, in the archive's order.
func (s *Stored) items(ch *Choice) []int {
	out := []int{s.toc}
	for _, e := range ch.Entries() {
		if i, ok := s.data[e.ID]; ok {
			out = append(out, i)
		}
	}
	return out
}

// Size is how much restoring a choice reads.
func (s *Stored) Size(ch *Choice) (n int64) {
	for _, i := range s.items(ch) {
		n += s.Manifest.Items[i].Size
	}
	return n
}

// Stream writes an archive that has just what a choice needs; it can be read from its beginning to its end only.
func (s *Stored) Stream(ctx context.Context, ch *Choice, w io.Writer) error {
	return s.read(ctx, s.items(ch), w)
}

// File writes an archive in which each table's data can be found by its place, for several readers at once.
func (s *Stored) File(ctx context.Context, ch *Choice, f *os.File, report func(n int)) error {
	items, base, end := s.items(ch), map[int]int64{}, int64(0)
	for _, i := range items {
		base[i] = end
		end += s.Manifest.Items[i].Size
	}
	err := restore.Pieces{Cluster: s.Cluster, Manifest: s.Manifest, Items: items, Workers: s.Workers, To: func(item int, at int64, b []byte) error {
		_, err := f.WriteAt(b, base[item]+at)
		report(len(b))
		return err
	}}.Run(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range ch.Entries() {
		if i, ok := s.data[e.ID]; ok {
			_, err := f.WriteAt(binary.LittleEndian.AppendUint64([]byte{offsetSet}, uint64(base[i])), e.offset)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Globals writes the roles and tablespaces, as SQL.
func (s *Stored) Globals(ctx context.Context, w io.Writer) error {
	for i, f := range s.Manifest.Items {
		if f.Path == GlobalsName {
			return s.read(ctx, []int{i}, w)
		}
	}
	return fmt.Errorf("backup %s has no roles: it was made without --all-databases", s.Manifest.ID)
}
