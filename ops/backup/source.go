package backup

import (
	"context"
	"time"
)

// Source is a database cluster that is being backed up: Start, then Next and Read until Next returns io.EOF, then Stop.
type Source interface {
	// Start puts the server into backup mode.
	Start(ctx context.Context) (Start, error)
	// Next goes to the next file; io.EOF after the last. Extents are left empty.
	Next() (File, error)
	// Read reads the content of the present file.
	Read(p []byte) (int, error)
	// Stop ends the backup on the server, which fails where anything was wrong with it.
	Stop() (Stop, error)
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
