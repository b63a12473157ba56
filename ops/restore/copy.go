package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// controlFile is written under another name until everything else is durable: a server refuses to start without it.
const controlFile = "global/pg_control"

// Copy brings the files of a backup into a directory.
type Copy struct {
	Cluster  backup.Cluster
	Manifest *backup.Manifest
	Dir      string
	// Locations says where tablespaces go, by OID; one that isn't in it goes where it was.
	Locations map[uint32]string
	Workers   int // that download and decompress; 0: 4
	// Existing makes use of what is in the directory: content that is the same stays, everything else goes. It serves
	// to resume, too.
	Existing bool
	Owner    *Owner // of what is written; nil: whoever runs this
	Report   func(backup.Progress)
}

// Owner is a user and a group, by number, and the other groups that the user is in.
type Owner struct {
	UID, GID int
	Groups   []int
}

// Stats is what a copy did, in bytes.
type Stats struct {
	Fetched int64 `json:"fetched"` // compressed, from the repository
	Written int64 `json:"written"`
	Kept    int64 `json:"kept"` // found in the directory as it should be
}

// Run copies, and returns when everything is durable. After an error, or a crash, the directory can't be started as a
// database, and Run with Existing continues.
func (c Copy) Run(ctx context.Context) (Stats, error) {
	w := &copier{Copy: c, began: time.Now()}
	if w.Workers == 0 {
		w.Workers = 4
	}
	if w.Report == nil {
		w.Report = func(backup.Progress) {}
	}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"begin", w.begin}, {"remove what isn't of the backup", w.clean}, {"make the files", w.create},
		{"copy", w.fetch}, {"write the tablespace map", w.tablespaceMap}, {"make it durable", w.sync}, {"finish", w.finish},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return w.stats(), fmt.Errorf("restore into %s: %s: %w", c.Dir, s.what, err)
		}
	}
	return w.stats(), nil
}

// copier is a Copy at work.
type copier struct {
	Copy
	began                  time.Time
	fetched, written, kept atomic.Int64
	total                  int64
	reporting              sync.Mutex
	reported               time.Time
}

func (w *copier) stats() Stats {
	return Stats{w.fetched.Load(), w.written.Load(), w.kept.Load()}
}

// root is the folder that a file's path is relative to.
func (w *copier) root(space int) string {
	if space == 0 {
		return w.Dir
	}
	t := w.Manifest.Tablespaces[space-1]
	if l, ok := w.Locations[t.OID]; ok {
		return l
	}
	return t.Location
}

func (w *copier) path(f *backup.File) string {
	p := f.Path
	if f.Space == 0 && p == controlFile {
		p += ".restoring"
	}
	return filepath.Join(w.root(f.Space), filepath.FromSlash(p))
}

// begin makes the folders' roots and leaves the marker, then takes the control file of what was there away.
func (w *copier) begin(context.Context) error {
	for space := range len(w.Manifest.Tablespaces) + 1 {
		if err := os.MkdirAll(filepath.Dir(w.root(space)), 0o755); err != nil { // the server must get through
			return err
		}
		if err := os.Mkdir(w.root(space), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(w.root(space), 0o700); err != nil {
			return err
		}
		if err := w.own(w.root(space)); err != nil {
			return err
		}
	}
	m := marker{w.Manifest.ID, map[uint32]string{}}
	for i, t := range w.Manifest.Tablespaces {
		m.Spaces[t.OID] = w.root(i + 1)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(w.Dir, markerName), text, w.Owner); err != nil {
		return err
	}
	err = os.Remove(filepath.Join(w.Dir, filepath.FromSlash(controlFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (w *copier) own(path string) error {
	if w.Owner == nil {
		return nil
	}
	return os.Lchown(path, w.Owner.UID, w.Owner.GID)
}

// clean removes what the backup hasn't got, and what is of another type.
func (w *copier) clean(ctx context.Context) error {
	if !w.Existing {
		return nil
	}
	want := map[string]backup.FileType{filepath.Join(w.Dir, markerName): backup.TypeFile}
	for space := range w.Manifest.Tablespaces { // which may lie in the data directory
		want[w.root(space+1)] = backup.TypeDir
	}
	for i := range w.Manifest.Items {
		want[w.path(&w.Manifest.Items[i])] = w.Manifest.Items[i].Type
	}
	for space := range len(w.Manifest.Tablespaces) + 1 {
		root := w.root(space)
		// With the separator at its end, a root that is a symbolic link is followed.
		err := filepath.WalkDir(root+string(filepath.Separator), func(p string, e fs.DirEntry, err error) error {
			if err != nil || filepath.Clean(p) == root {
				return errors.Join(err, ctx.Err())
			}
			t, ok := want[p]
			if ok && t == typeOf(e) {
				return nil
			}
			if !ok && space > 0 && filepath.Dir(p) == root && e.IsDir() && strings.HasPrefix(e.Name(), "PG_") {
				return fs.SkipDir // of a server of another version, which may share the place
			}
			if err := os.RemoveAll(p); err != nil || !e.IsDir() {
				return err
			}
			return fs.SkipDir
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func typeOf(e fs.DirEntry) backup.FileType {
	switch {
	case e.IsDir():
		return backup.TypeDir
	case e.Type()&fs.ModeSymlink != 0:
		return backup.TypeLink
	}
	return backup.TypeFile
}

// create makes every folder, link and file, the files at their final sizes.
func (w *copier) create(ctx context.Context) error {
	for i := range w.Manifest.Items {
		f := &w.Manifest.Items[i]
		w.total += f.Size
		if err := errors.Join(w.createOne(f), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (w *copier) createOne(f *backup.File) error {
	p := w.path(f)
	if !f.Mode.IsRegular() {
		return fmt.Errorf("%s has mode %v", f.Path, f.Mode)
	}
	switch f.Type {
	case backup.TypeDir:
		if err := os.Mkdir(p, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(p, f.Mode); err != nil {
			return err
		}
	case backup.TypeLink:
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(f.Link, p); err != nil {
			return err
		}
	default:
		file, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY, f.Mode)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Truncate(f.Size), reserve(file, f.Size), file.Chmod(f.Mode), file.Close()); err != nil {
			return err
		}
	}
	return w.own(p)
}

// tablespaceMap writes the file by which the server finds the tablespaces, with their present locations.
func (w *copier) tablespaceMap(context.Context) error {
	if len(w.Manifest.Tablespaces) == 0 {
		return nil
	}
	at := map[uint32]string{}
	for i, t := range w.Manifest.Tablespaces {
		at[t.OID] = w.root(i + 1)
	}
	return WriteFile(filepath.Join(w.Dir, "tablespace_map"), []byte(TablespaceMap(w.Manifest.Tablespaces, at)), w.Owner)
}

// sync makes all that was written durable.
func (w *copier) sync(ctx context.Context) error {
	w.report("sync")
	jobs := make(chan string)
	return parallel(ctx, w.Workers, func(ctx context.Context) error {
		defer close(jobs)
		for space := range len(w.Manifest.Tablespaces) + 1 {
			if err := send(ctx, jobs, w.root(space)); err != nil {
				return err
			}
		}
		for i := range w.Manifest.Items {
			if f := &w.Manifest.Items[i]; f.Type != backup.TypeLink {
				if err := send(ctx, jobs, w.path(f)); err != nil {
					return err
				}
			}
		}
		return nil
	}, func(context.Context) error {
		for p := range jobs {
			if err := syncPath(p); err != nil {
				return err
			}
		}
		return nil
	})
}

func send[T any](ctx context.Context, ch chan<- T, v T) error {
	select {
	case ch <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func syncPath(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// finish gives the control file its name and takes the marker away: now it is a database.
func (w *copier) finish(context.Context) error {
	final := filepath.Join(w.Dir, filepath.FromSlash(controlFile))
	if err := os.Rename(final+".restoring", final); err != nil {
		return err
	}
	if err := syncPath(filepath.Dir(final)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(w.Dir, markerName)); err != nil {
		return err
	}
	w.report("done")
	return syncPath(w.Dir)
}

func (w *copier) report(phase string) {
	w.reporting.Lock()
	defer w.reporting.Unlock()
	if phase == "copy" && time.Since(w.reported) < 250*time.Millisecond {
		return
	}
	w.reported = time.Now()
	s := w.stats()
	w.Report(backup.Progress{Phase: phase, Done: s.Written + s.Kept, Total: w.total, Stored: s.Fetched, Elapsed: time.Since(w.began)})
}

// parallel runs feed once and work n times at once, and returns the first error, which ends the others' context.
func parallel(ctx context.Context, n int, feed, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	start := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	start(feed)
	for range n {
		start(work)
	}
	wg.Wait()
	return context.Cause(ctx)
}
