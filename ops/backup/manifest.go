package backup

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

// FormatVersion is what this version writes, and the newest that it reads.
const FormatVersion = 2

// Head is what a manifest says of its backup as a whole.
type Head struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	Service   string    `json:"service"`
	System    SystemID  `json:"system_id"`
	PGVersion int       `json:"pg_version"` // server_version_num: 150018
	Label     string    `json:"label,omitempty"`
	Started   time.Time `json:"started"` // by the database server's clock
	Stopped   time.Time `json:"stopped"` // by the database server's clock: a restore to this time or later can use it
	// Timeline is that of both LSNs. Replay from StartLSN to StopLSN makes the files consistent.
	Timeline    Timeline     `json:"timeline"`
	StartLSN    LSN          `json:"start_lsn"`
	StopLSN     LSN          `json:"stop_lsn"`
	SegmentSize int64        `json:"wal_segment_size"`
	Checksums   bool         `json:"data_checksums"` // the cluster has page checksums
	Codec       string       `json:"compression"`
	Tablespaces []Tablespace `json:"tablespaces,omitempty"`
	Previous    string       `json:"previous,omitempty"`  // the backup whose unchanged chunks were used
	Bytes       int64        `json:"bytes"`               // of all files
	StoredBytes int64        `json:"stored_bytes"`        // that this backup added to the repository
	ReadBytes   int64        `json:"read_bytes"`          // that came from the server, before compression
	FullRead    string       `json:"full_read,omitempty"` // why everything was read though there is a previous backup
	ReusedBytes int64        `json:"reused_bytes"`        // of all files, found unchanged in earlier packs
	Files       int          `json:"files"`
	Directory   string       `json:"directory,omitempty"` // HOST:DIR, where local files were read
	// EncryptedFor names the recipients whose identities can read the backup; empty: it isn't encrypted.
	EncryptedFor []string `json:"encrypted_for,omitempty"`
	// Logical is set where the backup is a dump of databases: such a one has no WAL, and no timeline.
	Logical *Logical `json:"logical,omitempty"`
}

// Tablespace is one besides the default ones.
type Tablespace struct {
	OID      uint32 `json:"oid"`
	Location string `json:"location"`
}

// FirstSegment is the first WAL segment that restoring the backup needs.
func (h Head) FirstSegment() Segment { return SegmentAt(h.Timeline, h.StartLSN, h.SegmentSize) }

// LastSegment is the last one that it needs to become consistent.
func (h Head) LastSegment() Segment { return SegmentAt(h.Timeline, h.StopLSN-1, h.SegmentSize) }

// Manifest is everything needed to restore one backup.
type Manifest struct {
	Head
	Packs []Pack
	Units []Unit
	Items []File
	keys  []packKey
}

// packKey is the key of the packs that one backup wrote. A manifest has those of all packs that it needs, so that whoever
// can read it can read them, whoever they were written for.
type packKey struct {
	backup string
	id     keyID
	secret [secretSize]byte
}

// Backup is the ID of the backup that wrote the pack.
func (p Pack) Backup() string { return p.Name[:max(strings.LastIndexByte(p.Name, '-'), 0)] }

// Pack is one object of units.
type Pack struct {
	Name   string // packs/NAME
	Size   int64
	SHA256 [32]byte
}

// Unit is a compressed run of bytes in a pack.
type Unit struct {
	Pack uint32 // index into Packs
	Off  uint32 // in the pack
	Len  uint32 // compressed
	Raw  uint32 // uncompressed
	Hash uint64 // XXH64, uncompressed
}

// FileType tells regular files from what has no content.
type FileType byte

// The types.
const (
	TypeFile FileType = iota
	TypeDir
	TypeLink
)

// File is a file of the data directory or of a tablespace.
type File struct {
	Space   int // 0: the data directory; n: Tablespaces[n-1]
	Type    FileType
	Path    string // relative, slash-separated
	Link    string // target of a TypeLink
	Mode    fs.FileMode
	ModTime time.Time // whole seconds
	Size    int64
	Extents []Extent // in order; their lengths add up to Size
}

// Extent is a part of a file: bytes of a unit.
type Extent struct {
	Unit uint32 // index into Units
	Off  uint32 // in the uncompressed unit
	Len  uint32
}

// validPath says whether p names something below a data directory, and cannot escape it.
func validPath(p string) bool {
	return p != "" && path.Clean(p) == p && !path.IsAbs(p) && p != "." && p != ".." && !strings.HasPrefix(p, "../") &&
		!strings.ContainsRune(p, 0)
}
