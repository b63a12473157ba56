package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/covetpy/covet/internal/agekeys"
	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
)

// mending is one archived segment, whose object is damaged in many ways.
type mending struct {
	*testing.T
	c     backup.Cluster
	codec backup.Codec
	name  string
	key   string
	data  []byte
	sound []byte // the object
}

func newMending(t *testing.T, r backup.Repository, spec string) *mending {
	t.Helper()
	codec, err := codec.Named(spec)
	if err != nil {
		t.Fatal(err)
	}
	seg := backup.Segment{Timeline: 1, No: 5}
	m := &mending{T: t, c: r.Cluster("orders", testSystem), codec: codec, name: seg.Name(1 << 20), data: backup.EmptySegment(seg, testSystem, 1<<20)}
	_, _ = rand.NewChaCha8([32]byte{4}).Read(m.data[8192:300_000])
	m.push(m.data, true)
	m.key = "orders/" + testSystem.String() + "/wal/00000001/" + m.name
	if m.sound, err = backup.ReadAll(t.Context(), r.Store, m.key, 1<<30); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mending) push(data []byte, want bool) {
	m.Helper()
	if stored, err := m.c.PushWAL(m.Context(), m.name, data, m.codec); err != nil || stored != want {
		m.Fatalf("stored %v instead of %v: %v", stored, want, err)
	}
}

func (m *mending) put(object []byte) {
	m.Helper()
	if err := m.c.Store.Put(m.Context(), m.key, bytes.NewReader(object), backup.PutOptions{}); err != nil {
		m.Fatal(err)
	}
}

// refused checks that a file is not stored over a damaged object, which stays as it is.
func (m *mending) refused(data, object []byte) {
	m.Helper()
	if _, err := m.c.PushWAL(m.Context(), m.name, data, m.codec); !errors.Is(err, backup.ErrDamaged) {
		m.Fatalf("an unproved segment over a damaged one: %v", err)
	}
	if got, err := backup.ReadAll(m.Context(), m.c.Store, m.key, 1<<30); err != nil || !bytes.Equal(got, object) {
		m.Fatalf("what was refused has changed the repository: %v", err)
	}
}

// A segment that was damaged in the repository is whole again once it is archived again, and another one never takes its place.
func TestPushMendsWhatIsProvablyTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec   string
		sealed bool
		from   int  // the first byte whose loss leaves a proof
		front  bool // the proof lies at the front: it outlives the object's end
	}{{"zstd", false, 0, false}, {"lz4", false, 0, false}, {"none", false, 0, true}, {"zstd", true, 5, true}, {"none", true, 5, true}} {
		t.Run(fmt.Sprintf("%s sealed=%v", c.spec, c.sealed), func(t *testing.T) {
			t.Parallel()
			r := openRepository(t)
			if c.sealed {
				r = with(t, r, agekeys.Options{Identities: newPerson(t).secret})
			}
			m := newMending(t, r, c.spec)
			m.flipped(c.from)
			m.cut(c.front)
		})
	}
}

// flipped flips bits all over the object.
func (m *mending) flipped(from int) {
	other := bytes.Clone(m.data)
	other[500_000] ^= 1
	mended := 0
	for at := from; at < len(m.sound); at += 1 + len(m.sound)/20 {
		bad := bytes.Clone(m.sound)
		bad[at] ^= 1 << (at % 8)
		m.put(bad)
		if _, err := m.c.FetchWAL(m.Context(), m.name); err == nil {
			continue // a bit without a meaning
		}
		m.refused(other, bad)
		m.push(m.data, true)
		if got, err := m.c.FetchWAL(m.Context(), m.name); err != nil || !bytes.Equal(got, m.data) {
			m.Fatalf("byte %d: after it was archived again: %v", at, err)
		}
		mended++
	}
	if mended < 5 {
		m.Errorf("only %d were damaged", mended)
	}
}

// cut lets the object lose its end.
func (m *mending) cut(provable bool) {
	short := m.sound[:len(m.sound)-len(m.sound)/3]
	m.put(short)
	if !provable {
		m.refused(m.data, short)
		return
	}
	m.push(m.data, true)
}
