package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A live part is the beginning of a segment that its server has yet to fill: SEGMENT.live-LENGTH, eight hexadecimal
// digits. Parts of growing length follow each other; nothing is overwritten. They go when the whole segment is stored.
const liveMark = ".live-"

func (c Cluster) livePrefix(s Segment, size int64) string {
	return c.key("wal", s.Timeline.String(), s.Name(size)+liveMark)
}

// PushLive stores the beginning of a segment, and removes the shorter ones that were stored before.
func (c Cluster) PushLive(ctx context.Context, s Segment, size int64, data []byte, codec Codec) error {
	h, err := ParseSegmentHeader(data)
	if err != nil {
		return fmt.Errorf("the beginning of WAL segment %s: %w", s.Name(size), err)
	}
	if h.System != c.System {
		return &ForeignWALError{s.Name(size), c.System, h.System}
	}
	enc, err := c.Sealer.sealing(codec, true, nil).Encode(nil, data)
	if err != nil {
		return fmt.Errorf("compress %s: %w", s.Name(size), err)
	}
	prefix := c.livePrefix(s, size)
	key := fmt.Sprintf("%s%08X", prefix, len(data))
	if err := c.Store.Put(ctx, key, bytes.NewReader(enc), PutOptions{IfAbsent: true}); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return c.removeLive(ctx, prefix, key)
}

// DropLive removes the parts of a segment that is stored whole.
func (c Cluster) DropLive(ctx context.Context, s Segment, size int64) error {
	return c.removeLive(ctx, c.livePrefix(s, size), "")
}

func (c Cluster) removeLive(ctx context.Context, prefix, but string) error {
	var drop []string
	for o, err := range c.Store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if o.Key != but {
			drop = append(drop, o.Key)
		}
	}
	return c.Store.Delete(ctx, drop...)
}

// fetchLive returns the longest live part of a segment, filled up with zeros, which end the log where it is read.
func (c Cluster) fetchLive(ctx context.Context, name string, f WALFile) ([]byte, error) {
	key := ""
	for o, err := range c.Store.List(ctx, c.key("wal", f.Timeline.String(), name+liveMark)) {
		if err != nil {
			return nil, err
		}
		key = o.Key // ascending
	}
	if key == "" {
		return nil, fmt.Errorf("get %s: %w", name, ErrNotFound)
	}
	enc, err := ReadAll(ctx, c.Store, key, maxSegment)
	if err != nil {
		return nil, err
	}
	data, err := c.decodeWAL(enc)
	if err != nil {
		return nil, damaged(path.Base(key)+" in "+c.Where, err)
	}
	h, err := ParseSegmentHeader(data)
	if err != nil || int64(len(data)) > h.Size {
		return nil, fmt.Errorf("%w: %s in %s: %w", ErrDamaged, path.Base(key), c.Where, errors.Join(err, errTruncated))
	}
	return append(data, make([]byte, h.Size-int64(len(data)))...), nil
}

// addLive takes the live parts among the listed objects into the archive, where the whole segments haven't come yet.
func (a *Archived) addLive(live []Object) error {
	for _, o := range live {
		name, _, _ := strings.Cut(path.Base(o.Key), liveMark)
		s, err := ParseSegment(name, a.Size)
		if err != nil {
			return err
		}
		if _, ok := a.Find(s); ok {
			continue
		}
		segs := append(a.Segments[s.Timeline], ArchivedSegment{No: s.No, Object: o, Live: true})
		slices.SortFunc(segs, func(x, y ArchivedSegment) int { return int(int64(x.No) - int64(y.No)) })
		a.Segments[s.Timeline] = segs
	}
	return nil
}
