package backup

import (
	"context"
	"time"
)

// Origin is whose database is backed up.
type Origin struct {
	System    SystemID
	PGVersion int       // server_version_num
	Time      time.Time // by the server's clock
}

// Source is a database cluster that is being backed up: Start, then Next and Read until Next returns io.EOF, then Stop.
type Source interface {
	// Start puts the server into backup mode. prev is an earlier backup whose content may be referred to; nil: none.
	Start(ctx context.Context, prev *Manifest) (Start, error)
	// Next goes to the next file; io.EOF after the last.
	Next() (Entry, error)
	// Read reads the content of the present file that comes from the source.
	Read(p []byte) (int, error)
	// Stop ends the backup on the server, which fails where anything was wrong with it.
	Stop() (Stop, error)
}

// Exchanger is a Source that can hand over a buffer that it has filled, instead of copying from it.
type Exchanger interface {
	// Exchange returns the next len(buf) bytes of the present file in a buffer that is the caller's from then on, and keeps buf
	// instead. Where it has not just so many in one piece it returns nil and keeps nothing.
	Exchange(buf []byte) ([]byte, error)
}

// Entry is a file that comes from a source. Its extents are left empty.
type Entry struct {
	File
	// Partial says that only the Changed chunks are read, one after the other; the others are as in the earlier backup that
	// the source was started with, and zeros behind its end.
	Partial bool
	Changed []uint32 // numbers of chunks (of ChunkSize), ascending
}

// Start is what is known of a backup when it begins.
type Start struct {
	System      SystemID
	PGVersion   int // server_version_num
	Timeline    Timeline
	LSN         LSN
	SegmentSize int64
	Checksums   bool
	Tablespaces []Tablespace
	Total       int64     // estimated bytes
	Time        time.Time // by the server's clock
	// Directory is whose files were read, where they were local: HOST:DIR.
	Directory string
	// FullRead is why everything is read though there is an earlier backup; empty: only what changed is.
	FullRead string
}

// Stop is what is known when it ends.
type Stop struct {
	LSN      LSN
	Timeline Timeline
	Time     time.Time // by the server's clock, after the end
}

// WALSource yields WAL straight from a server, for a backup whose segments nobody archives.
type WALSource interface {
	// Segments calls sink with each whole segment from first to last, in order.
	Segments(ctx context.Context, first, last Segment, sink func(name string, data []byte) error) error
	// History returns a timeline's .history file.
	History(ctx context.Context, t Timeline) ([]byte, error)
}
