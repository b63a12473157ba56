package backup

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// MarkKind says what a Mark in the log is.
type MarkKind int

// The kinds.
const (
	MarkCommit MarkKind = iota
	MarkAbort
	MarkRestorePoint // made by pg_create_restore_point
)

// Mark is a record at which recovery can stop.
type Mark struct {
	Kind MarkKind
	LSN  LSN // where the record begins
	Time time.Time
	XID  uint32 // of a commit or abort
	Name string // of a restore point
}

// Facts are what the records that begin in one segment say.
type Facts struct {
	Marks []Mark
	Last  LSN // where the last whole record begins; 0: there is none
}

// Record header and resource managers, as in access/xlogrecord.h and access/rmgrlist.h; unchanged from 15 to 18.
const (
	recordHeader = 24
	rmgrXLOG     = 0
	rmgrXact     = 1

	xlogRestorePoint = 0x70
	xactOpMask       = 0x70
	xactCommit       = 0x00
	xactAbort        = 0x20
	xactCommitPrep   = 0x30
	xactAbortPrep    = 0x40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ScanSegment reads the records that begin in a segment. next is the segment that follows it, for a record that reaches
// into it; nil where there is none, and such a record is left out then. Both must have passed CheckSegment.
func ScanSegment(data, next []byte) Facts {
	h, err := ParseSegmentHeader(data)
	if err != nil {
		return Facts{}
	}
	s := &walScan{data: data, next: next, start: h.Start, magic: h.Magic}
	s.pos = s.headerAt(0)
	if s.pos == 0 {
		return Facts{}
	}
	if binary.LittleEndian.Uint16(data[2:])&walFirstIsContinued != 0 && !s.skip(int(binary.LittleEndian.Uint32(data[16:]))) {
		return Facts{} // one record fills the whole segment
	}
	var f Facts
	for s.record(&f) {
	}
	return f
}

// walScan walks over a segment's records, across page headers.
type walScan struct {
	data, next []byte
	start      LSN
	magic      uint16
	pos        int    // in data followed by next
	buf        []byte // the present record
}

// at returns the bytes from pos to the end of its page; nil behind the end.
func (s *walScan) at(pos int) []byte {
	end := pos - pos%walPage + walPage
	switch {
	case end <= len(s.data):
		return s.data[pos:end]
	case pos >= len(s.data) && end <= len(s.data)+len(s.next):
		return s.next[pos-len(s.data) : end-len(s.data)]
	}
	return nil
}

// headerAt checks the page header at pos and returns the position behind it; 0 where no page of this log is there.
func (s *walScan) headerAt(pos int) int {
	b := s.at(pos)
	if b == nil || binary.LittleEndian.Uint16(b) != s.magic || LSN(binary.LittleEndian.Uint64(b[8:])) != s.start+LSN(pos) {
		return 0
	}
	if binary.LittleEndian.Uint16(b[2:])&walLongHeader != 0 {
		return pos + 40
	}
	return pos + 24
}

// skip moves over n bytes of records; false at the end of the log.
func (s *walScan) skip(n int) bool { return s.read(n, false) }

// read moves over n bytes, into buf where keep is set, and to the next page's content where it ends with a page.
func (s *walScan) read(n int, keep bool) bool {
	for n > 0 {
		if s.pos%walPage == 0 {
			if s.pos = s.headerAt(s.pos); s.pos == 0 {
				return false
			}
		}
		b := s.at(s.pos)
		if b == nil {
			return false
		}
		b = b[:min(n, len(b))]
		if keep {
			s.buf = append(s.buf, b...)
		}
		s.pos += len(b)
		n -= len(b)
	}
	return true
}

// record reads one record; false at the end of the log or of the segment.
func (s *walScan) record(f *Facts) bool {
	s.pos = (s.pos + 7) &^ 7
	if s.pos >= len(s.data) {
		return false
	}
	at := s.pos
	if at%walPage == 0 {
		if at = s.headerAt(s.pos); at == 0 {
			return false
		}
		s.pos = at
	}
	total := binary.LittleEndian.Uint32(s.at(at)) // never divided between pages
	if total < recordHeader || total > 1<<30 {
		return false
	}
	s.buf = s.buf[:0]
	if !s.read(int(total), true) || !recordCRC(s.buf) {
		return false
	}
	f.Last = s.start + LSN(at)
	if m, ok := markOf(s.buf); ok {
		m.LSN = f.Last
		f.Marks = append(f.Marks, m)
	}
	return true
}

// recordCRC checks a record's CRC-32C, which covers its data and then its header without the CRC.
func recordCRC(b []byte) bool {
	crc := crc32.Update(crc32.Checksum(b[recordHeader:], castagnoli), castagnoli, b[:20])
	return crc == binary.LittleEndian.Uint32(b[20:])
}

// markOf recognises the records at which recovery can stop.
func markOf(b []byte) (m Mark, ok bool) {
	info, rmgr := b[16], b[17]
	switch {
	case rmgr == rmgrXLOG && info&0xF0 == xlogRestorePoint:
		m.Kind = MarkRestorePoint
	case rmgr == rmgrXact && (info&xactOpMask == xactCommit || info&xactOpMask == xactCommitPrep):
		m.Kind = MarkCommit
	case rmgr == rmgrXact && (info&xactOpMask == xactAbort || info&xactOpMask == xactAbortPrep):
		m.Kind = MarkAbort
	default:
		return m, false
	}
	data := mainData(b[recordHeader:])
	if len(data) < 8 {
		return m, false
	}
	m.XID = binary.LittleEndian.Uint32(b[4:])
	m.Time = pgTime(int64(binary.LittleEndian.Uint64(data)))
	if m.Kind == MarkRestorePoint {
		name, _, _ := bytes.Cut(data[8:], []byte{0})
		m.Name = string(name)
	}
	return m, true
}

// pgTime converts microseconds since 2000-01-01.
func pgTime(us int64) time.Time {
	return time.UnixMicro(us + 946_684_800_000_000).UTC()
}

// mainData finds a record's own data behind the headers that precede it. Records with blocks, which none of the wanted
// ones has, yield nil.
func mainData(b []byte) []byte {
	for len(b) > 0 {
		var size int
		switch b[0] {
		case 255: // short
			if len(b) < 2 || len(b)-2 != int(b[1]) {
				return nil
			}
			return b[2:]
		case 254: // long
			if len(b) < 5 || uint64(len(b)-5) != uint64(binary.LittleEndian.Uint32(b[1:])) {
				return nil
			}
			return b[5:]
		case 253: // replication origin
			size = 3
		case 252: // top-level transaction
			size = 5
		default:
			return nil
		}
		if len(b) < size {
			return nil
		}
		b = b[size:]
	}
	return nil
}
