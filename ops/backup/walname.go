package backup

import (
	"fmt"
	"strconv"
	"strings"
)

// Timeline is a PostgreSQL timeline's number, from 1.
type Timeline uint32

// String is the eight hexadecimal digits that begin the names of the timeline's files.
func (t Timeline) String() string { return fmt.Sprintf("%08X", uint32(t)) }

// ParseTimeline reads the eight hexadecimal digits.
func ParseTimeline(s string) (Timeline, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil || len(s) != 8 || n == 0 {
		return 0, fmt.Errorf("%q is not a timeline: it has eight hexadecimal digits", s)
	}
	return Timeline(n), nil
}

// Segment is one WAL segment file of a timeline, by its number: segment n begins at LSN n × size.
type Segment struct {
	Timeline Timeline
	No       uint64
}

// SegmentAt is the segment that holds the byte at an LSN, for segments of size bytes.
func SegmentAt(t Timeline, at LSN, size int64) Segment {
	return Segment{t, uint64(at) / uint64(size)}
}

// Name is the segment's file name.
func (s Segment) Name(size int64) string {
	per := uint64(1<<32) / uint64(size)
	return fmt.Sprintf("%08X%08X%08X", uint32(s.Timeline), uint32(s.No/per), uint32(s.No%per))
}

// Start is the LSN of the segment's first byte.
func (s Segment) Start(size int64) LSN { return LSN(s.No * uint64(size)) }

// End is the LSN behind its last byte.
func (s Segment) End(size int64) LSN { return LSN((s.No + 1) * uint64(size)) }

// ParseSegment reads a segment's file name.
func ParseSegment(name string, size int64) (Segment, error) {
	if !isHex(name, 24) {
		return Segment{}, fmt.Errorf("%q is not the name of a WAL segment", name)
	}
	t, err := ParseTimeline(name[:8])
	if err != nil {
		return Segment{}, err
	}
	hi, err1 := strconv.ParseUint(name[8:16], 16, 32)
	lo, err2 := strconv.ParseUint(name[16:], 16, 32)
	per := uint64(1<<32) / uint64(size)
	if err1 != nil || err2 != nil || lo >= per {
		return Segment{}, fmt.Errorf("%q is not the name of a WAL segment of %d bytes", name, size)
	}
	return Segment{t, hi*per + lo}, nil
}

// WALKind tells the files apart that PostgreSQL hands to archive_command.
type WALKind int

// The kinds.
const (
	WALSegment WALKind = iota // 000000010000000A000000F3
	WALPartial                // 000000010000000A000000F3.partial: the last of a timeline that was left by a promotion
	WALHistory                // 00000002.history
	WALLabel                  // 000000010000000A000000F3.00000028.backup: written by pg_backup_stop
)

// WALFile is the kind of an archived file and its timeline, as its name tells.
type WALFile struct {
	Kind     WALKind
	Timeline Timeline
}

// segment says whether it is a part of the log, whole or not.
func (f WALFile) segment() bool { return f.Kind == WALSegment || f.Kind == WALPartial }

// ParseWALFile recognises the names that PostgreSQL archives; any other is an error.
func ParseWALFile(name string) (WALFile, error) {
	base, rest, dotted := strings.Cut(name, ".")
	kind := WALSegment
	switch {
	case isHex(base, 8) && rest == "history":
		kind = WALHistory
	case isHex(base, 24) && rest == "partial":
		kind = WALPartial
	case isHex(base, 24) && len(rest) == 15 && isHex(rest[:8], 8) && rest[8:] == ".backup":
		kind = WALLabel
	case isHex(base, 24) && !dotted:
	default:
		return WALFile{}, fmt.Errorf("%q is not a WAL file: expected a segment, .partial, .history or .backup file", name)
	}
	t, err := ParseTimeline(base[:8])
	return WALFile{kind, t}, err
}

// isHex says whether s is n upper-case hexadecimal digits.
func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789ABCDEF") == ""
}
