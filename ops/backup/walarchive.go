package backup

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Limits of what a WAL object can hold, in bytes.
const (
	usualSegment = 16 << 20
	maxSegment   = 1 << 30
)

// ForeignWALError reports a segment of another database cluster.
type ForeignWALError struct {
	Name      string
	Want, Got SystemID
}

func (e *ForeignWALError) Error() string {
	return fmt.Sprintf("WAL segment %s belongs to the database system %s, not to %s: archive each cluster under its own service", e.Name, e.Got, e.Want)
}

// ConflictError reports that the repository holds other bytes under the same name.
type ConflictError struct{ Name, Where string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s in %s has other content than the one to be archived: two servers archive to the same place, or a timeline was reused; nothing was overwritten", e.Name, e.Where)
}

// walKey is where a WAL file lives; history files lie beside the timelines' folders, to be listed alone.
func (c Cluster) walKey(name string, f WALFile) string {
	if f.Kind == WALHistory {
		return c.key("wal", name)
	}
	return c.key("wal", f.Timeline.String(), name)
}

// PushWAL archives one file that PostgreSQL handed over. When it returns nil the file is durable in the repository. A
// file that is there already is accepted when its bytes are the same, which stored = false tells; it is stored anew where
// it was damaged there and provably the same.
func (c Cluster) PushWAL(ctx context.Context, name string, data []byte, codec Codec) (stored bool, err error) {
	f, err := ParseWALFile(name)
	if err != nil {
		return false, err
	}
	if err := c.checkWAL(name, f, data); err != nil {
		return false, err
	}
	tag := []byte(nil)
	if c.Sealer.active() {
		tag = c.walTag(name, data)
	}
	enc, err := c.Sealer.sealing(codec, true, tag).Encode(make([]byte, 0, len(data)/4+1024), data)
	if err != nil {
		return false, fmt.Errorf("compress %s: %w", name, err)
	}
	key := c.walKey(name, f)
	err = c.Store.Put(ctx, key, bytes.NewReader(enc), PutOptions{IfAbsent: true})
	if !errors.Is(err, ErrExists) {
		return err == nil, err
	}
	same, err := c.sameWAL(ctx, name, f, data)
	switch {
	case errors.Is(err, ErrDamaged):
		err = c.mendWAL(ctx, key, name, data, enc, err)
		return err == nil, err
	case err == nil && !same:
		err = &ConflictError{name, c.Where}
	}
	return false, err
}

// sameWAL says whether an archived file has the same bytes. Where it can't be decrypted, its tag tells.
func (c Cluster) sameWAL(ctx context.Context, name string, f WALFile, data []byte) (bool, error) {
	there, err := c.FetchWAL(ctx, name)
	if err == nil || !sealed(err) {
		return bytes.Equal(there, data), err
	}
	r, err := c.Store.Get(ctx, c.walKey(name, f), 0, 64<<10)
	if err != nil {
		return false, err
	}
	head, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return false, err
	}
	h, err := decodeSealHeader(head)
	if err != nil {
		return false, damaged(name+" in "+c.Where, err)
	}
	return hmac.Equal(h.tag, c.walTag(name, data)), nil
}

// checkWAL checks that data is what a file of that name must be.
func (c Cluster) checkWAL(name string, f WALFile, data []byte) error {
	switch f.Kind {
	case WALHistory:
		_, err := ParseHistory(data)
		return err
	case WALLabel:
		return nil
	}
	return c.checkSegment(name, data, int64(len(data)))
}

// FetchWAL reads one archived file and checks that it is what was archived. Of a segment that isn't there whole, but is
// being received, it returns what there is, filled up with zeros. Fails with ErrNotFound for one that isn't
// there, with ErrDamaged for one that has changed.
func (c Cluster) FetchWAL(ctx context.Context, name string) ([]byte, error) {
	data, err := c.FetchWhole(ctx, name)
	f, nameErr := ParseWALFile(name)
	if !errors.Is(err, ErrNotFound) || nameErr != nil || f.Kind != WALSegment {
		return data, err
	}
	if data, err = c.fetchLive(ctx, name, f); err != nil {
		return nil, err
	}
	if err := c.checkWAL(name, f, data); err != nil {
		return nil, damaged(name+" in "+c.Where, err)
	}
	return data, nil
}

// FetchWhole is FetchWAL without the segments of which only the beginning is there.
func (c Cluster) FetchWhole(ctx context.Context, name string) ([]byte, error) {
	f, err := ParseWALFile(name)
	if err != nil {
		return nil, err
	}
	enc, err := readAll(ctx, c.Store, c.walKey(name, f), maxSegment+1<<20, nil)
	if err != nil {
		return nil, err
	}
	data, err := c.decodeWAL(enc)
	if err == nil {
		err = c.checkWAL(name, f, data)
	}
	if err != nil {
		return nil, damaged(name+" in "+c.Where, err)
	}
	return data, nil
}

// Archived is what the repository holds of the log: the whole segments of each timeline, ascending, and the timelines'
// histories.
type Archived struct {
	Size      int64 // of a segment, bytes
	Segments  map[Timeline][]ArchivedSegment
	Histories map[Timeline]History
	Unread    map[Timeline]error // why a timeline's history is there and cannot be read
}

// History is where a timeline comes from. It fails where that isn't known.
func (a *Archived) History(t Timeline) (History, error) {
	h, ok := a.Histories[t]
	switch {
	case ok || t <= 1:
		return h, nil
	case a.Unread[t] != nil:
		return nil, fmt.Errorf("the history of timeline %d cannot be read: %w", t, a.Unread[t])
	}
	return nil, fmt.Errorf("the history of timeline %d is not in the repository", t)
}

// ArchivedSegment is one segment in the repository.
type ArchivedSegment struct {
	No uint64
	Object
	// Live says that only its beginning is there: the log ends in it.
	Live bool
}

// Find returns what is there of a segment.
func (a *Archived) Find(s Segment) (ArchivedSegment, bool) {
	segs := a.Segments[s.Timeline]
	i, ok := slices.BinarySearchFunc(segs, s.No, func(x ArchivedSegment, no uint64) int {
		return int(int64(x.No) - int64(no))
	})
	if !ok {
		return ArchivedSegment{}, false
	}
	return segs[i], true
}

// Newest is the highest timeline that anything is known of; 0 where nothing is.
func (a *Archived) Newest() Timeline {
	var newest Timeline
	for _, m := range []([]Timeline){slices.Collect(maps.Keys(a.Segments)), slices.Collect(maps.Keys(a.Histories)), slices.Collect(maps.Keys(a.Unread))} {
		for _, t := range m {
			newest = max(newest, t)
		}
	}
	return newest
}

// Archived lists the log. Segments have size bytes.
func (c Cluster) Archived(ctx context.Context, size int64) (*Archived, error) {
	a := &Archived{Size: size, Segments: map[Timeline][]ArchivedSegment{}, Histories: map[Timeline]History{}, Unread: map[Timeline]error{}}
	prefix := c.key("wal") + "/"
	var live []Object
	for o, err := range c.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if strings.Contains(o.Key, liveMark) {
			live = append(live, o)
			continue
		}
		name := o.Key[strings.LastIndexByte(o.Key, '/')+1:]
		f, err := ParseWALFile(name)
		if err != nil {
			continue // something else put there: not ours to judge
		}
		switch f.Kind {
		case WALSegment:
			s, err := ParseSegment(name, size)
			if err != nil {
				return nil, fmt.Errorf("list the WAL in %s: %w", c.Where, err)
			}
			a.Segments[s.Timeline] = append(a.Segments[s.Timeline], ArchivedSegment{No: s.No, Object: o})
		case WALHistory:
			h, err := c.history(ctx, name)
			switch {
			case errors.Is(err, ErrDamaged):
				a.Unread[f.Timeline] = err
			case err != nil:
				return nil, err
			default:
				a.Histories[f.Timeline] = h
			}
		}
	}
	if err := a.addLive(live); err != nil {
		return nil, fmt.Errorf("list the WAL in %s: %w", c.Where, err)
	}
	return a, nil
}

// history reads an archived history.
func (c Cluster) history(ctx context.Context, name string) (History, error) {
	data, err := c.FetchWAL(ctx, name)
	if err != nil {
		return nil, err
	}
	h, err := ParseHistory(data)
	if err == nil && len(h) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, damaged(name+" in "+c.Where, err)
	}
	return h, nil
}

// Lacking is the number of the first segment that the archive lacks behind its newest whole one, on the way to a timeline
// with this history; ok is false where it has none.
func (c Cluster) Lacking(ctx context.Context, own Timeline, h History, size int64) (no uint64, ok bool, err error) {
	timelines := []Timeline{own}
	for _, f := range h {
		timelines = append(timelines, f.Timeline)
	}
	for _, t := range timelines {
		prefix := c.key("wal", t.String()) + "/"
		for o, err := range c.Store.List(ctx, prefix) {
			if err != nil {
				return 0, false, err
			}
			s, err := ParseSegment(strings.TrimPrefix(o.Key, prefix), size)
			if err == nil && (!ok || s.No >= no) && (t == own || h.At(own, s.Start(size)) == t) {
				no, ok = s.No+1, true
			}
		}
	}
	return no, ok, nil
}

// missing returns the segments from first to last, on one timeline, that aren't in the repository.
func (c Cluster) missing(ctx context.Context, first, last Segment, size int64) ([]Segment, error) {
	have := map[string]bool{}
	// Names of a timeline sort as their numbers do; only those between are asked for, by their common prefix.
	prefix := c.key("wal", first.Timeline.String()) + "/"
	a, b := first.Name(size), last.Name(size)
	n := 0
	for n < len(a) && a[n] == b[n] {
		n++
	}
	for o, err := range c.Store.List(ctx, prefix+a[:n]) {
		if err != nil {
			return nil, err
		}
		have[strings.TrimPrefix(o.Key, prefix)] = true
	}
	var out []Segment
	for s := first; s.No <= last.No; s.No++ {
		if !have[s.Name(size)] {
			out = append(out, s)
		}
	}
	return out, nil
}

// Facts reads what the records that begin in an archived segment say. next is the one that follows it; nil where there
// is none.
func (c Cluster) Facts(ctx context.Context, s Segment, next *Segment, size int64) (Facts, error) {
	data, err := c.FetchWAL(ctx, s.Name(size))
	if err != nil {
		return Facts{}, err
	}
	if next == nil {
		return ScanSegment(data, nil), nil
	}
	after, err := c.FetchWAL(ctx, next.Name(size))
	if err != nil {
		return Facts{}, err
	}
	return ScanSegment(data, after), nil
}
