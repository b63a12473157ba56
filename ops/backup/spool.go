package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/covetpy/covet/ops/backup/walside"
)

// ErrSpoolFull is returned, wrapped, when the spool may not take more.
var ErrSpoolFull = errors.New("the WAL spool is full")

// Spool is a folder on a local disk in which WAL is durable until it is in the repository. Compressed files lie in
// SERVICE/SYSTEM_ID/NAME, each written to a temporary file, synced and renamed.
type Spool struct {
	Dir string
	// Max is how many bytes it may hold. It also leaves a twentieth of its disk free, or a gigabyte.
	Max int64
}

// Names in the spool besides those of WAL files.
const (
	spoolTemp    = ".new"     // being written
	spoolRefused = ".refused" // why the repository will never take a file
	spoolLock    = ".lock"    // held by whoever brings the files to the repository
	spoolFault   = ".fault"   // why that failed the last time
)

func (s *Spool) folder(c Cluster) string { return filepath.Join(s.Dir, c.Service, c.System.String()) }

// Add makes a file durable in the spool. Fails with ErrSpoolFull where there is no room, and for good while a file lies
// there that the repository refused: somebody has to look at it first.
func (s *Spool) Add(c Cluster, name string, data []byte, codec Codec) error {
	f, err := ParseWALFile(name)
	if err != nil {
		return err
	}
	if err := c.checkWAL(name, f, data); err != nil {
		return err
	}
	path := filepath.Join(s.folder(c), name)
	if there, err := c.readSpooled(path); err == nil {
		if !bytes.Equal(there, data) {
			return &ConflictError{name, s.Dir}
		}
		return nil
	} else if errors.Is(err, ErrDamaged) { // it is here once more, whole
		if err := ignoreMissing(os.Remove(path + spoolRefused)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	enc, err := codec.Encode(make([]byte, 0, len(data)/4+1024), data)
	if err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	if err := s.room(int64(len(enc))); err != nil {
		return err
	}
	err = writeDurably(path, enc)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrSpoolFull, err)
	}
	if err != nil {
		return fmt.Errorf("spool %s: %w", name, err)
	}
	return nil
}

// room says whether n more bytes may come.
func (s *Spool) room(n int64) error {
	st, err := s.State()
	if err != nil {
		return err
	}
	if len(st.Refused) > 0 {
		return fmt.Errorf("the spool %s holds WAL that the repository refused (%s): see covetctl wal status", s.Dir, strings.Join(st.Refused, ", "))
	}
	if st.Bytes+n > s.Max {
		return fmt.Errorf("%w: %s holds %d files with %d of %d MB that wait for the repository", ErrSpoolFull, s.Dir, st.Files, st.Bytes>>20, s.Max>>20)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.Dir, &disk); err == nil {
		reserve := min(int64(disk.Blocks)*disk.Bsize/20, 1<<30)
		if free := int64(disk.Bavail) * disk.Bsize; free-n < reserve {
			return fmt.Errorf("%w: the disk of %s has %d MB left, of which %d are not for it", ErrSpoolFull, s.Dir, free>>20, reserve>>20)
		}
	}
	return nil
}

// SpoolState is what a spool holds.
type SpoolState struct {
	Dir     string    `json:"dir"`
	Files   int       `json:"files"` // acknowledged, and not yet in the repository
	Bytes   int64     `json:"bytes"`
	Max     int64     `json:"max_bytes"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Refused []string  `json:"refused,omitempty"` // with the reasons
	Fault   string    `json:"fault,omitempty"`   // why the last attempt to bring them to the repository failed
}

// State looks at the spool. One that isn't there is empty.
func (s *Spool) State() (SpoolState, error) {
	st := SpoolState{Dir: s.Dir, Max: s.Max}
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreMissing(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		switch filepath.Ext(path) {
		case spoolLock, spoolTemp:
			return nil
		case spoolFault:
			st.Fault = firstLine(path)
		case spoolRefused:
			st.Refused = append(st.Refused, firstLine(path))
		default:
			st.Files++
			st.Bytes += info.Size()
			if st.Oldest.IsZero() || info.ModTime().Before(st.Oldest) {
				st.Oldest = info.ModTime()
			}
		}
		return nil
	})
	if err != nil {
		return st, fmt.Errorf("look at the spool %s: %w", s.Dir, err)
	}
	return st, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// Read returns a file that waits in the spool; fails with fs.ErrNotExist, wrapped, where it doesn't.
func (s *Spool) Read(c Cluster, name string) ([]byte, error) {
	if _, err := ParseWALFile(name); err != nil {
		return nil, err
	}
	return c.readSpooled(filepath.Join(s.folder(c), name))
}

// readSpooled reads one file of the spool and checks it.
func (c Cluster) readSpooled(path string) ([]byte, error) {
	enc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	data, err := c.decodeWAL(enc)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return data, nil
}

// Systems lists the clusters of a service that have a part of the spool.
func (s *Spool) Systems(service string) ([]SystemID, error) {
	entries, err := os.ReadDir(filepath.Join(s.Dir, service))
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var ids []SystemID
	for _, e := range entries {
		if id, err := ParseSystemID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// ErrLocked is returned, wrapped, when another process is at the same work.
var ErrLocked = errors.New("another process is at it")

// Drain brings all that a cluster has in the spool to the repository, until nothing is left, several files at a time. A
// file leaves the spool only when it is durable in the repository. One that the repository refuses for good stays, with
// a note, and the others go on; any other failure ends the drain and is noted too.
func (s *Spool) Drain(ctx context.Context, c Cluster, codec Codec, workers int) (err error) {
	dir := s.folder(c)
	unlock, err := LockFile(filepath.Join(dir, spoolLock))
	if err != nil {
		return ignoreMissing(err)
	}
	defer unlock()
	fault := filepath.Join(dir, spoolFault)
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = errors.Join(err, os.WriteFile(fault, []byte(err.Error()+"\n"), 0o600))
		} else if err == nil {
			err = ignoreMissing(os.Remove(fault))
		}
	}()
	for {
		names, err := spooled(dir)
		if err != nil || len(names) == 0 {
			return err
		}
		if err := s.drainAll(ctx, c, codec, workers, names); err != nil {
			return err
		}
	}
}

// spooled lists the files that can go to the repository, in their order.
func spooled(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var names []string
	refused := map[string]bool{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), spoolRefused); ok {
			refused[name] = true
		}
		if _, err := ParseWALFile(e.Name()); err == nil {
			names = append(names, e.Name())
		}
		if info, err := e.Info(); filepath.Ext(e.Name()) == spoolTemp && err == nil && time.Since(info.ModTime()) > time.Hour {
			if err := os.Remove(filepath.Join(dir, e.Name())); ignoreMissing(err) != nil { // whoever wrote it has died
				return nil, err
			}
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return refused[n] }), nil
}

func (s *Spool) drainAll(ctx context.Context, c Cluster, codec Codec, workers int, names []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan string)
	var wg sync.WaitGroup
	for range max(workers, 1) {
		wg.Go(func() {
			for name := range jobs {
				if err := s.drainOne(ctx, c, codec, name); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, name := range names {
		select {
		case jobs <- name:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(jobs)
	wg.Wait()
	return context.Cause(ctx)
}

func (s *Spool) drainOne(ctx context.Context, c Cluster, codec Codec, name string) error {
	path := filepath.Join(s.folder(c), name)
	data, err := c.readSpooled(path)
	if err == nil {
		_, err = c.PushWAL(ctx, name, data, codec)
	}
	var conflict *ConflictError
	var foreign *ForeignWALError
	if errors.As(err, &conflict) || errors.As(err, &foreign) || errors.Is(err, ErrDamaged) {
		return os.WriteFile(path+spoolRefused, []byte(err.Error()+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("bring %s from the spool to %s: %w", name, c.Where, err)
	}
	return ignoreMissing(os.Remove(path))
}

// writeDurably writes a file that is whole or not at all, and stays when the machine loses power.
func writeDurably(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := makeDirsDurably(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*"+spoolTemp) // two may write the same file at the same time
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(f.Name())))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// makeDirsDurably is MkdirAll that syncs the parent of each folder it made.
func makeDirsDurably(dir string) error {
	err := os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if err := makeDirsDurably(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LockFile takes the lock that a file stands for, which ends with the process at the latest. Fails with ErrLocked
// where another has it, and with fs.ErrNotExist where its folder isn't there.
func LockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// Whoever looks whether it is held holds it for a moment.
	for range 10 {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // nothing was written to it
}

// Busy says whether a process brings a cluster's files to the repository.
func (s *Spool) Busy(c Cluster) bool { return walside.Locked(filepath.Join(s.folder(c), spoolLock)) }

// Files lists what waits in the spool for the repository, in its order.
func (s *Spool) Files(c Cluster) ([]string, error) { return spooled(s.folder(c)) }

// Waiting is how many files of a cluster can go to the repository.
func (s *Spool) Waiting(c Cluster) (int, error) {
	names, err := spooled(s.folder(c))
	return len(names), err
}
