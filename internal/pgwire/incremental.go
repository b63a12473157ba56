package pgwire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/covetpy/covet/ops/backup"
)

// PostgreSQL 17 and later can send just the blocks that changed since an earlier backup, which they learn of from an
// uploaded manifest in their own format. What comes instead of a file is INCREMENTAL.name: a header with the numbers of the
// blocks, and the blocks.
const (
	firstIncremental  = 170000
	incrementalPrefix = "INCREMENTAL."
	incrementalMagic  = 0xd3ae1f0d
	maxBlocks         = 131072 // of a segment of 1 GB
)

// upload tells the server of the earlier backup; why says why it can't be built upon.
func (b *BaseBackup) upload(prev *backup.Manifest) (why string, err error) {
	if b.version < firstIncremental {
		return fmt.Sprintf("PostgreSQL %d can't tell what changed; 17 and later can", b.version/10000), nil
	}
	set, err := b.c.row("SELECT current_setting('summarize_wal'), current_setting('block_size')", 2)
	if err != nil {
		return "", err
	}
	if set[0] != "on" {
		return "summarize_wal is off on the server: set it to on, and later backups read only what changed", nil
	}
	if set[1] != fmt.Sprint(backup.ChunkSize) {
		return "the server has blocks of " + set[1] + " bytes", nil
	}
	if err := b.c.query("UPLOAD_MANIFEST"); err != nil {
		return "", err
	}
	typ, n, err := b.c.header()
	if err == nil && typ != 'G' {
		err = fmt.Errorf("the server sent %q where it should take the manifest", typ)
	}
	if err == nil {
		_, err = b.c.r.Discard(n)
	}
	if err == nil {
		err = b.sendManifest(prev)
	}
	if err == nil {
		err = b.c.ready()
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return "the server refuses the previous backup's list of files: " + pe.Message, b.c.ready()
	}
	return "", err
}

// sendManifest sends the earlier backup's list of files as the server's own manifest has it.
func (b *BaseBackup) sendManifest(m *backup.Manifest) error {
	w := newManifestWriter(b.c)
	w.printf("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": %d,\n\"Files\": [", uint64(m.System))
	comma := "\n"
	for i := range m.Items {
		f := &m.Items[i]
		if f.Type != backup.TypeFile {
			continue
		}
		p := f.Path
		if f.Space > 0 {
			p = fmt.Sprintf("pg_tblspc/%d/%s", m.Tablespaces[f.Space-1].OID, p)
		}
		w.printf("%s{ %s, \"Size\": %d, \"Last-Modified\": \"%s\" }", comma, manifestPath(p), f.Size, f.ModTime.UTC().Format("2006-01-02 15:04:05 GMT"))
		comma = ",\n"
	}
	w.printf("\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": %d, \"Start-LSN\": \"%s\", \"End-LSN\": \"%s\" }\n],\n", m.Timeline, m.StartLSN, m.StopLSN)
	w.printf("\"Manifest-Checksum\": \"%s\"}\n", hex.EncodeToString(w.hash()))
	return w.end()
}

// manifestPath is a file's path; one that isn't UTF-8 is encoded.
func manifestPath(p string) string {
	if !utf8.ValidString(p) {
		return `"Encoded-Path": "` + hex.EncodeToString([]byte(p)) + `"`
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // a string is always encoded
	}
	return `"Path": ` + string(text)
}

// complete makes an entry of an incremental file, and a backup of everything of the label of an incremental one.
func (b *BaseBackup) complete(f backup.File) (backup.Entry, error) {
	e := backup.Entry{File: f}
	dir, name := path.Split(f.Path)
	if whole, ok := strings.CutPrefix(name, incrementalPrefix); ok {
		e.Path, e.Partial = dir+whole, true
		var err error
		if e.Changed, e.Size, err = readChanged(b.tar); err != nil {
			return e, fmt.Errorf("what changed of %s: %w", e.Path, err)
		}
		return e, nil
	}
	if f.Path != "backup_label" {
		return e, nil
	}
	text, err := io.ReadAll(b.tar)
	if err != nil {
		return e, err
	}
	label := completeLabel(text)
	e.Size, b.content = int64(len(label)), bytes.NewReader(label)
	return e, nil
}

// completeLabel takes the lines away by which a server knows that it can't be started with what is in the backup.
func completeLabel(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("INCREMENTAL FROM ")) {
			out = append(out, line...)
		}
	}
	return out
}

// readChanged reads an incremental file's header: which blocks follow, and how long the file is with them.
func readChanged(r io.Reader) (blocks []uint32, size int64, err error) {
	var h [12]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, 0, err
	}
	le := binary.LittleEndian
	n, length := le.Uint32(h[4:]), le.Uint32(h[8:])
	if le.Uint32(h[:]) != incrementalMagic || n > maxBlocks || length > maxBlocks {
		return nil, 0, errors.New("the server sent a header that can't be understood")
	}
	list := make([]byte, 4*n)
	if _, err := io.ReadFull(r, list); err != nil {
		return nil, 0, err
	}
	for i := range n {
		block := le.Uint32(list[4*i:])
		if block >= maxBlocks || i > 0 && block <= blocks[i-1] {
			return nil, 0, errors.New("the server names the blocks in a wrong order")
		}
		blocks = append(blocks, block)
		length = max(length, block+1)
	}
	if past := (len(h) + len(list)) % backup.ChunkSize; n > 0 && past != 0 {
		if _, err := io.CopyN(io.Discard, r, int64(backup.ChunkSize-past)); err != nil {
			return nil, 0, err
		}
	}
	return blocks, int64(length) * backup.ChunkSize, nil
}
