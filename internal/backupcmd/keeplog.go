package backupcmd

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// asidePath is where the log goes that only the old directory has.
func asidePath(dir, id string) string { return filepath.Clean(dir) + ".covet-wal-" + id }

// keepLog sees to it that nothing of the log goes with the old files: what PostgreSQL wanted archived is archived, and what
// the repository can't have, such as the end of a segment that isn't full, is moved aside.
func (j *job) keepLog(ctx context.Context) (string, error) {
	place, err := restore.Inspect(j.f.to)
	if err != nil || place.State != restore.Occupied {
		return "there is no log of an earlier server", err
	}
	c, err := j.f.cluster(ctx)
	if err != nil {
		return "", err
	}
	k := logKeeper{cluster: c, dir: filepath.Join(j.f.to, "pg_wal"), aside: asidePath(j.f.to, j.o.ID)}
	if err := k.keep(ctx); err != nil {
		return "", err
	}
	return k.says(), nil
}

// logKeeper keeps the log of a server that is stopped.
type logKeeper struct {
	cluster  backup.Cluster
	dir      string // pg_wal
	aside    string
	archived int
	moved    []string
}

func (k *logKeeper) keep(ctx context.Context) error {
	heads, err := k.cluster.Backups(ctx)
	if err != nil && !errors.Is(err, backup.ErrDamaged) {
		return err
	}
	if len(heads) == 0 {
		return fmt.Errorf("there is no backup in %s any more: %w", k.cluster.Where, err)
	}
	if err := k.archive(ctx); err != nil {
		return err
	}
	size := heads[len(heads)-1].SegmentSize
	there, err := k.cluster.Archived(ctx, size)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || !k.lacking(there, e.Name(), size) {
			continue
		}
		if err := k.move(e.Name()); err != nil {
			return fmt.Errorf("keep %s, which is not in the repository: %w", e.Name(), err)
		}
	}
	return nil
}

// archive brings what PostgreSQL wanted archived. What the repository refuses is moved aside later.
func (k *logKeeper) archive(ctx context.Context) error {
	with, err := codec.Named(cmp.Or(os.Getenv("COVET_COMPRESSION"), "zstd"))
	if err != nil {
		return usage(err)
	}
	for _, name := range backup.Ready(k.dir) {
		data, err := os.ReadFile(filepath.Join(k.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("archive what is left of the log: %w", err)
		}
		if _, err := k.cluster.PushWAL(ctx, name, data, with); err != nil {
			if unreachable(err) || ctx.Err() != nil {
				return fmt.Errorf("archive what is left of the log: %s: %w", name, err)
			}
			continue
		}
		k.archived++
	}
	return nil
}

// lacking says whether a file is one of the log that has been written to, and that the repository hasn't got in full. What
// PostgreSQL keeps to be written to anew still begins with the address of what it was.
func (k *logKeeper) lacking(there *backup.Archived, name string, size int64) bool {
	if _, err := backup.ParseWALFile(name); err != nil || strings.Contains(name, ".") {
		return false
	}
	s, err := backup.ParseSegment(name, size)
	if err != nil {
		return false
	}
	if a, ok := there.Find(s); ok && !a.Live {
		return false
	}
	f, err := os.Open(filepath.Join(k.dir, name))
	if err != nil {
		return true // it is moved, which says why not
	}
	defer func() { _ = f.Close() }()                   // it is only read
	const addressAt, addressLen = 8, 8                 // xlp_pageaddr of the first page's header
	var head [addressAt + addressLen]byte              //
	if _, err := io.ReadFull(f, head[:]); err != nil { // it was never written to
		return false
	}
	return backup.LSN(binary.NativeEndian.Uint64(head[addressAt:])) == s.Start(size)
}

// move takes a file aside, whole, and leaves nothing where it was.
func (k *logKeeper) move(name string) error {
	from, to := filepath.Join(k.dir, name), filepath.Join(k.aside, name)
	if err := os.MkdirAll(k.aside, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err == nil {
		k.moved = append(k.moved, name)
		return nil
	}
	data, err := os.ReadFile(from) // pg_wal may be on another file system
	if err != nil {
		return err
	}
	if err := restore.WriteFile(to, data, nil); err != nil {
		return err
	}
	k.moved = append(k.moved, name)
	return os.Remove(from)
}

func (k *logKeeper) says() string {
	var out []string
	if k.archived > 0 {
		out = append(out, fmt.Sprintf("%d files were archived", k.archived))
	}
	if len(k.moved) > 0 {
		out = append(out, fmt.Sprintf("%s: not in the repository, kept in %s", strings.Join(k.moved, ", "), k.aside))
	}
	if len(out) == 0 {
		return "the repository has all of it"
	}
	return strings.Join(out, "; ")
}
