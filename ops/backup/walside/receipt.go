// Package walside is about what lies beside a server's log, in pg_wal/.covet: receipts of what was archived unasked, and
// segments that were fetched ahead. Nothing depends on any of it. The package imports little, because commands that are
// answered from there alone run before the rest of the program is initialised.
package walside

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ScratchDir is the folder in pg_wal for what can be lost at any time. PostgreSQL takes no notice of it, and backups
// don't hold it.
const ScratchDir = ".covet"

// Print tells whether a file is still the one that was archived, without reading it: whoever writes to it changes the
// time, and whoever replaces it the inode.
type Print struct {
	inode uint64
	size  int64
	nanos int64 // of the modification time
}

// PrintOf is the print of a file.
func PrintOf(st fs.FileInfo) Print {
	p := Print{size: st.Size(), nanos: st.ModTime().UnixNano()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		p.inode = sys.Ino
	}
	return p
}

// Receipts are notes beside a server's log that say which of its files were archived before PostgreSQL asked for it.
// They save work: a note that is lost, or damaged, or about another file of the name, means that the file is archived
// again, which finds the same bytes there.
type Receipts struct {
	// WALDir is the server's pg_wal.
	WALDir string
	// For names the repository and the cluster: a note about another one doesn't count.
	For string
}

func (r Receipts) path(name string) string {
	return filepath.Join(r.WALDir, ScratchDir, "archived", name)
}

func (r Receipts) text(p Print) string {
	return sum(r.For) + " " + strconv.FormatUint(p.inode, 10) + " " + strconv.FormatInt(p.size, 10) + " " + strconv.FormatInt(p.nanos, 10) + "\n"
}

// receiptLife is how long a note counts: PostgreSQL asks within moments, unless somebody has been at work meanwhile.
const receiptLife = 10 * time.Minute

// Has says whether there is a note about the file.
func (r Receipts) Has(name string, p Print) bool {
	st, err := os.Stat(r.path(name))
	if err != nil || time.Since(st.ModTime()).Abs() > receiptLife {
		return false
	}
	text, err := os.ReadFile(r.path(name))
	return err == nil && string(text) == r.text(p)
}

// Give leaves a note.
func (r Receipts) Give(name string, p Print) error {
	path := r.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(r.text(p)), 0o600)
}

// Take removes the note, which has served.
func (r Receipts) Take(name string) error {
	if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
