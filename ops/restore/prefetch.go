package restore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/backup/walside"
)

// Prefetcher fills a Prefetched folder.
type Prefetcher struct {
	walside.Prefetched
	Cluster backup.Cluster
	Size    int64 // of a segment, bytes
	// Ahead is how many segments the folder holds at most; Workers, how many are fetched at the same time.
	Ahead, Workers int
	// Alive says whether the recovery goes on.
	Alive func() bool

	readers sync.Pool // of *backup.WALReader
}

// room is what is left free of the disk besides the segments ahead.
const prefetchRoom = 256 << 20

// Run fetches ahead of the recovery until that ends, or the archive does, and leaves nothing behind. It returns at once
// where another process is at it already.
func (p *Prefetcher) Run(ctx context.Context) (err error) {
	unlock, err := backup.LockFile(filepath.Join(p.Dir, walside.LockName))
	if errors.Is(err, backup.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	defer func() { err = errors.Join(err, p.clean()) }()
	if err := p.removeOthers(); err != nil {
		return err
	}
	w := &window{p: p}
	for ctx.Err() == nil && p.Alive() {
		more, err := w.advance(ctx)
		if err != nil || !more {
			w.wg.Wait()
			return errors.Join(err, w.err())
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.wg.Wait()
	return nil
}

// removeOthers removes the folders of other repositories and of earlier runs of the system.
func (p *Prefetcher) removeOthers() error {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(p.Dir), walside.PrefetchDir+"*"))
	if err != nil {
		return err
	}
	for _, dir := range all {
		if dir != p.Dir {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

// clean removes the folder, and the one around it where nothing else is in it.
func (p *Prefetcher) clean() error {
	err := os.RemoveAll(p.Dir)
	if rest := os.Remove(filepath.Dir(p.Dir)); rest != nil && !errors.Is(rest, syscall.ENOTEMPTY) && !errors.Is(rest, fs.ErrExist) && !errors.Is(rest, fs.ErrNotExist) {
		err = errors.Join(err, rest)
	}
	return err
}

// window is the run of segments behind the one that was wanted last.
type window struct {
	p       *Prefetcher
	wanted  backup.Segment
	started map[uint64]bool // fetched or being fetched, and not yet behind the recovery
	wg      sync.WaitGroup
	mu      sync.Mutex
	running int
	ended   bool  // the archive has no more
	failure error // the repository can't be asked: restore_command will say so
}

func (w *window) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// advance follows the recovery and starts what there is room for. It says whether there may be more to do.
func (w *window) advance(ctx context.Context) (more bool, err error) {
	if err := w.follow(); err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return false, nil
	}
	for no := w.wanted.No + 1; no <= w.wanted.No+uint64(w.p.ahead()); no++ {
		if w.started[no] {
			continue
		}
		if w.ended || w.running >= max(w.p.Workers, 1) || !w.p.fits() {
			break
		}
		w.started[no] = true
		w.running++
		seg := backup.Segment{Timeline: w.wanted.Timeline, No: no}
		w.wg.Go(func() { w.fetched(no, w.p.fetch(ctx, seg.Name(w.p.Size))) })
	}
	return !w.ended || w.running > 0 || len(w.started) > 0, nil
}

// fetched notes how a fetch went.
func (w *window) fetched(no uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	switch {
	case err == nil:
		return
	case errors.Is(err, backup.ErrNotFound):
		w.ended = true
	default:
		w.failure = err
	}
	delete(w.started, no)
}

// ahead is how many segments to hold: fewer where they are large.
func (p *Prefetcher) ahead() int { return max(1, min(p.Ahead, int(prefetchRoom/p.Size))) }

// fits says whether the disk has room for another segment.
func (p *Prefetcher) fits() bool {
	var disk syscall.Statfs_t
	return syscall.Statfs(p.Dir, &disk) != nil || int64(disk.Bavail)*disk.Bsize > p.Size*int64(p.Workers)+prefetchRoom
}

// follow reads what was wanted last, and removes what the recovery has passed, or left for another timeline.
func (w *window) follow() error {
	text, err := os.ReadFile(filepath.Join(w.p.Dir, walside.WantedFile))
	if err != nil {
		return err
	}
	at, err := backup.ParseSegment(string(text), w.p.Size)
	if err != nil || at == w.wanted {
		return err
	}
	w.mu.Lock()
	jumped := w.started == nil || at.Timeline != w.wanted.Timeline || at.No < w.wanted.No
	if jumped {
		w.started, w.ended = map[uint64]bool{}, false
	}
	for no := range w.started {
		if no <= at.No {
			delete(w.started, no)
		}
	}
	w.wanted = at
	w.mu.Unlock()
	return w.p.drop(at)
}

// drop removes the segments that aren't behind the wanted one on its timeline.
func (p *Prefetcher) drop(at backup.Segment) error {
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		s, err := backup.ParseSegment(e.Name(), p.Size)
		if err != nil || s.Timeline == at.Timeline && s.No > at.No {
			continue
		}
		if err := os.Remove(filepath.Join(p.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// fetch brings one segment into the folder.
func (p *Prefetcher) fetch(ctx context.Context, name string) (err error) {
	path := filepath.Join(p.Dir, name)
	if _, err := os.Lstat(path); err == nil {
		return nil // an earlier process brought it
	}
	coming := path + walside.ComingMark
	mark, err := os.OpenFile(coming, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	published := false
	defer func() {
		err = errors.Join(err, mark.Close())
		if !published {
			err = errors.Join(err, os.Remove(coming))
		}
	}()
	r, ok := p.readers.Get().(*backup.WALReader)
	if !ok {
		r = &backup.WALReader{Cluster: p.Cluster}
	}
	defer p.readers.Put(r)
	file, err := r.Read(ctx, name)
	if err != nil {
		return err
	}
	if _, err := file.WriteTo(mark); err != nil {
		return err
	}
	published = true
	return os.Rename(coming, path)
}
