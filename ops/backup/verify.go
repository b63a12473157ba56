package backup

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Verification is what was found when everything that a backup needs was read back.
type Verification struct {
	ID       string   `json:"backup"` // or LogID
	Packs    int      `json:"packs"`
	Bytes    int64    `json:"bytes"` // read
	Segments int      `json:"wal_segments"`
	Damage   []string `json:"damage"` // empty: the backup is good
}

// Verifier reads backups back and checks them. A pack that several backups share is read once.
type Verifier struct {
	c    Cluster
	done map[string]error // by pack
}

// found is what is told of damage, under the heading that it is some.
func found(err error) string { return strings.TrimPrefix(err.Error(), ErrDamaged.Error()+": ") }

// NewVerifier returns a verifier of a cluster's backups.
func NewVerifier(c Cluster) *Verifier { return &Verifier{c: c, done: map[string]error{}} }

// Verify checks one backup: its manifest, every pack's SHA-256, every block's hash once decompressed, and the WAL from
// its start to its end. The error is about the check itself, such as a store that doesn't answer; damage is in the result.
func (v *Verifier) Verify(ctx context.Context, id string, report func(Progress)) (*Verification, error) {
	out := &Verification{ID: id, Damage: []string{}}
	m, err := v.c.Manifest(ctx, id)
	if errors.Is(err, ErrDamaged) {
		out.Damage = append(out.Damage, found(err))
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	meter := newMeter(report)
	for _, p := range m.Packs {
		meter.p.Total += p.Size
	}
	meter.phase("verify")
	for i, p := range m.Packs {
		err, known := v.done[p.Name]
		if !known {
			err = v.pack(ctx, m, uint32(i))
			out.Bytes += p.Size
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		v.done[p.Name] = err
		if err != nil {
			out.Damage = append(out.Damage, found(err))
		}
		out.Packs++
		meter.add(int(p.Size), 0)
	}
	if m.Logical != nil {
		return out, nil // it needs none
	}
	return out, v.wal(ctx, m, out)
}

// pack reads one pack from end to end.
func (v *Verifier) pack(ctx context.Context, m *Manifest, pack uint32) (err error) {
	p := m.Packs[pack]
	var units []int
	for i, u := range m.Units {
		if u.Pack == pack {
			units = append(units, i)
		}
	}
	slices.SortFunc(units, func(a, b int) int { return cmp.Compare(m.Units[a].Off, m.Units[b].Off) })
	rc, err := v.c.OpenPack(ctx, p.Name, 0, -1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(rc, sum), 64<<10)
	var at uint32
	var enc, raw []byte
	var bad error
	for _, i := range units {
		u := m.Units[i]
		if _, err := r.Discard(int(u.Off - at)); err != nil {
			return shortPack(p, err)
		}
		enc = slices.Grow(enc[:0], int(u.Len))[:u.Len]
		if _, err := io.ReadFull(r, enc); err != nil {
			return shortPack(p, err)
		}
		at = u.Off + u.Len
		dst, err := v.c.ReadUnit(m, i, enc, raw)
		if err != nil {
			bad = cmp.Or(bad, err)
			continue
		}
		raw = dst
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return shortPack(p, err)
	}
	if got := sum.Sum(nil); bad == nil && [32]byte(got) != p.SHA256 {
		return fmt.Errorf("%w: pack %s doesn't match its SHA-256", ErrDamaged, p.Name)
	}
	return bad
}

func shortPack(p Pack, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: pack %s is shorter than its %d bytes", ErrDamaged, p.Name, p.Size)
	}
	return fmt.Errorf("read pack %s: %w", p.Name, err)
}

// wal checks the segments without which the backup can't become consistent.
func (v *Verifier) wal(ctx context.Context, m *Manifest, out *Verification) error {
	for s, last := m.FirstSegment(), m.LastSegment(); s.No <= last.No; s.No++ {
		name := s.Name(m.SegmentSize)
		_, err := v.c.FetchWAL(ctx, name)
		switch {
		case errors.Is(err, ErrNotFound):
			out.Damage = append(out.Damage, "WAL segment "+name+" is missing")
		case errors.Is(err, ErrDamaged):
			out.Damage = append(out.Damage, found(err))
		case err != nil:
			return err
		}
		out.Segments++
	}
	return nil
}
