package backup

import (
	"encoding/binary"
	"fmt"
)

// walPage is XLOG_BLCKSZ, which no packaged PostgreSQL changes.
const walPage = 8192

// Flags of a WAL page's xlp_info.
const (
	walFirstIsContinued = 0x0001
	walLongHeader       = 0x0002
)

// SegmentHeader is what the first page of a WAL segment says of it (XLogLongPageHeaderData).
type SegmentHeader struct {
	Magic    uint16 // the version of the WAL format, 0xD1xx
	Timeline Timeline
	Start    LSN
	System   SystemID
	Size     int64 // of a segment, bytes
}

// segmentHeaderSize is that of XLogLongPageHeaderData (access/xlog_internal.h), bytes.
const segmentHeaderSize = 40

// ParseSegmentHeader reads the first 40 bytes of a segment.
func ParseSegmentHeader(b []byte) (SegmentHeader, error) {
	if len(b) < segmentHeaderSize {
		return SegmentHeader{}, fmt.Errorf("it has only %d bytes", len(b))
	}
	le := binary.LittleEndian
	h := SegmentHeader{
		Magic: le.Uint16(b), Timeline: Timeline(le.Uint32(b[4:])), Start: LSN(le.Uint64(b[8:])),
		System: SystemID(le.Uint64(b[24:])), Size: int64(le.Uint32(b[32:])),
	}
	switch {
	case h.Magic>>8 != 0xD1:
		return h, fmt.Errorf("it doesn't begin with a WAL page (magic %04X)", h.Magic)
	case le.Uint16(b[2:])&walLongHeader == 0:
		return h, fmt.Errorf("its first page isn't that of a segment")
	case h.Size < 1<<20 || h.Size > 1<<30 || h.Size&(h.Size-1) != 0:
		return h, fmt.Errorf("it claims segments of %d bytes", h.Size)
	case le.Uint32(b[36:]) != walPage:
		return h, fmt.Errorf("it has WAL pages of %d bytes; only 8192 is supported", le.Uint32(b[36:]))
	case h.System == 0:
		return h, fmt.Errorf("it names no database system")
	}
	return h, nil
}

// CheckSegment checks that data is the whole segment that its name promises, and returns its header.
func CheckSegment(name string, data []byte) (SegmentHeader, error) {
	return checkSegmentHead(name, data, int64(len(data)))
}

// checkSegmentHead is CheckSegment for one of that size, of which head is the beginning.
func checkSegmentHead(name string, head []byte, size int64) (SegmentHeader, error) {
	h, err := ParseSegmentHeader(head)
	if err != nil {
		return h, fmt.Errorf("WAL segment %s is damaged: %w", name, err)
	}
	seg, err := ParseSegment(name, h.Size)
	if err != nil {
		return h, err
	}
	if size != h.Size {
		return h, fmt.Errorf("WAL segment %s has %d bytes instead of %d", name, size, h.Size)
	}
	if h.Start != seg.Start(h.Size) {
		return h, fmt.Errorf("WAL segment %s holds the log from %s, not from %s: it was recycled and not yet written", name, h.Start, seg.Start(h.Size))
	}
	// A new timeline's first segment keeps the pages of the old one up to the switch.
	if h.Timeline > seg.Timeline {
		return h, fmt.Errorf("WAL segment %s holds timeline %d", name, h.Timeline)
	}
	return h, nil
}
