package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// print tells whether a file is still the one that was archived, without reading it: whoever writes to it changes the
// time, and whoever replaces it the inode.
type print struct {
	inode uint64
	size  int64
	nanos int64 // of the modification time
}

func printOf(st fs.FileInfo) print {
	p := print{size: st.Size(), nanos: st.ModTime().UnixNano()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		p.inode = sys.Ino
	}
	return p
}

// Receipts are notes beside a server's log that say which of its files were archived before PostgreSQL asked for it.
// They save work and nothing depends on them: a note that is lost, or damaged, or about another file of the name, means
// that the file is archived again, which finds the same bytes there.
type Receipts struct {
	// WALDir is the server's pg_wal.
	WALDir string
	// For names the repository and the cluster: a note about another one doesn't count.
	For string
}

// ScratchDir is the folder in pg_wal for what can be lost at any time. PostgreSQL takes no notice of it, and backups
// don't hold it.
const ScratchDir = ".covet"

func (r Receipts) path(name string) string {
	return filepath.Join(r.WALDir, ScratchDir, "archived", name)
}

func (r Receipts) text(p print) string {
	return fmt.Sprintf("%016x %d %d %d\n", XXH64([]byte(r.For)), p.inode, p.size, p.nanos)
}

// receiptLife is how long a note counts: PostgreSQL asks within moments, unless somebody has been at work meanwhile.
const receiptLife = 10 * time.Minute

// has says whether there is a note about the file.
func (r Receipts) has(name string, p print) bool {
	st, err := os.Stat(r.path(name))
	if err != nil || time.Since(st.ModTime()).Abs() > receiptLife {
		return false
	}
	text, err := os.ReadFile(r.path(name))
	return err == nil && string(text) == r.text(p)
}

// give leaves a note.
func (r Receipts) give(name string, p print) error {
	path := r.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(r.text(p)), 0o600)
}

// take removes the note, which has served.
func (r Receipts) take(name string) error {
	if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
