// Package file keeps a backup repository in a directory of a local or mounted file system.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// tempDir holds objects that are being written. It is a sibling of the objects, so that a rename never crosses file systems.
const tempDir = ".tmp"

// Store implements backup.Store on a directory. Objects are written to a temporary file, synced, and linked or renamed
// into place; the directories are synced too.
type Store struct {
	root string
}

// Open returns the store on a directory, which the first Put makes. The path must be absolute.
func Open(root string) (*Store, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("repository directory %q must be an absolute path", root)
	}
	return &Store{root: filepath.Clean(root)}, nil
}

// path returns the file that holds key.
func (s *Store) path(key string) (string, error) {
	if !fs.ValidPath(key) || key == "." || strings.HasPrefix(key, tempDir+"/") {
		return "", fmt.Errorf("invalid object key %q", key)
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

// Put implements backup.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, o backup.PutOptions) (err error) {
	target, err := s.path(key)
	if err != nil {
		return err
	}
	if o.IfAbsent {
		if _, err := os.Lstat(target); err == nil {
			// Whoever wrote it may have died before its name was durable.
			return fmt.Errorf("put %s: %w", key, errors.Join(backup.ErrExists, syncDir(filepath.Dir(target))))
		}
	}
	if err := makeDirs(filepath.Join(s.root, tempDir)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	f, err := os.CreateTemp(filepath.Join(s.root, tempDir), "put-*")
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer func() {
		if rmErr := os.Remove(f.Name()); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}()
	if err := fill(ctx, f, r); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := publish(f.Name(), target, o.IfAbsent); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// fill writes r to f, syncs and closes it.
func fill(ctx context.Context, f *os.File, r io.Reader) error {
	_, err := io.Copy(f, &contextReader{ctx, r})
	if err == nil {
		err = f.Chmod(0o640)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// publish gives the finished temporary file its name and makes that durable.
func publish(temp, target string, ifAbsent bool) error {
	dir := filepath.Dir(target)
	if err := makeDirs(dir); err != nil {
		return err
	}
	if err := inherit(temp, dir); err != nil {
		return err
	}
	if !ifAbsent {
		if err := os.Rename(temp, target); err != nil {
			return err
		}
		return syncDir(dir)
	}
	err := os.Link(temp, target) // unlike a rename, fails where the name is taken
	if errors.Is(err, fs.ErrExist) {
		return errors.Join(backup.ErrExists, syncDir(dir))
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// makeDirs is MkdirAll that syncs the parent of each directory it made.
func makeDirs(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, 0o750)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := inherit(dir, parent); err != nil {
		return err
	}
	return syncDir(parent)
}

// inherit gives what root has made to whom the folder around it belongs: in the repository of the user postgres, a backup or
// a restore that root runs must leave nothing that postgres can't read.
func inherit(path, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements backup.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	name, err := s.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return nil, fmt.Errorf("get %s: %w", key, backup.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		return nil, errors.Join(fmt.Errorf("get %s: %w", key, backup.ErrNotFound), err, f.Close())
	}
	if left := max(st.Size()-off, 0); n < 0 || n > left {
		n = left
	}
	return &section{io.NewSectionReader(f, off, n), ctx, f}, nil
}

// section reads a range of an open file.
type section struct {
	r   *io.SectionReader
	ctx context.Context
	f   *os.File
}

func (s *section) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// Size is how many bytes there are to read.
func (s *section) Size() int64 { return s.r.Size() }

func (s *section) Close() error { return s.f.Close() }

// List implements backup.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		dir := path.Dir(prefix + "x") // the deepest directory that every match is under
		_, err := s.walk(ctx, dir, prefix, yield)
		if err != nil {
			yield(backup.Object{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

// walk yields the objects under dir in key order; more is false when the consumer stopped.
func (s *Store) walk(ctx context.Context, dir, prefix string, yield func(backup.Object, error) bool) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(filepath.Join(s.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	sortAsKeys(entries)
	for _, e := range entries {
		key := path.Join(dir, e.Name())
		if key == tempDir || !overlaps(key, prefix) {
			continue
		}
		if e.IsDir() {
			more, err = s.walk(ctx, key, prefix, yield)
		} else if strings.HasPrefix(key, prefix) {
			more, err = yieldFile(e, key, yield)
		} else {
			continue
		}
		if err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// overlaps says whether key, or anything under it, can begin with prefix.
func overlaps(key, prefix string) bool {
	return strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key+"/")
}

func yieldFile(e fs.DirEntry, key string, yield func(backup.Object, error) bool) (bool, error) {
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // deleted meanwhile
	}
	if err != nil {
		return false, err
	}
	return yield(backup.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil), nil
}

// Delete implements backup.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	locked := &backup.LockedError{}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := s.path(key)
		if err != nil {
			return err
		}
		err = os.Remove(name)
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist) || isNotDir(err):
		case errors.Is(err, syscall.EPERM): // an immutable file; what isn't ours to remove is EACCES
			locked.Add(key, time.Time{})
		default:
			return fmt.Errorf("delete %s: %w", key, err)
		}
	}
	return locked.OrNil()
}

// Sweep removes what writers that died before the given time left behind.
func (s *Store) Sweep(ctx context.Context, before time.Time) error {
	dir := filepath.Join(s.root, tempDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // finished meanwhile, or still being written
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return ctx.Err()
}
