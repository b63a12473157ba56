package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/backup/walside"
)

// Outcome is what became of a file that was to be archived. In each case it is durable.
type Outcome string

// The outcomes.
const (
	Stored  Outcome = "stored"  // in the repository
	Spooled Outcome = "spooled" // in the spool, on its way to the repository
)

// Archiver archives the files of one server's log. PostgreSQL asks for one after the other; the archiver works on those
// that it will ask for next at the same time.
type Archiver struct {
	Cluster Cluster
	Codec   Codec
	Spool   *Spool // where there is one, files are acknowledged from there; nil: none
	// For names the repository and how it is written to; receipts for another don't count.
	For string
	// Ahead is how many files it works on before PostgreSQL asks for them; Workers, how many at the same time.
	Ahead, Workers int

	mu      sync.Mutex
	flights map[string]*flight // by path
	slots   chan struct{}
	buffers sync.Pool
	wg      sync.WaitGroup
}

// flight is one file on its way.
type flight struct {
	print   walside.Print
	done    chan struct{}
	outcome Outcome
	err     error
}

// failed says whether it has ended without success, and so must be tried again when it is asked for.
func (f *flight) failed() bool {
	select {
	case <-f.done:
		return f.err != nil
	default:
		return false
	}
}

// Archive makes one file durable and says where. ctx bounds the work on the file and on those ahead of it: an archiver
// that lives longer than the question must be given its own.
func (a *Archiver) Archive(ctx context.Context, path string) (Outcome, error) {
	name := filepath.Base(path)
	if _, err := ParseWALFile(name); err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	p := walside.PrintOf(st)
	if r := a.receipts(path); r.Has(name, p) {
		return Stored, r.Take(name)
	}
	f := a.join(ctx, path, p)
	a.ahead(ctx, path)
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flights[path] == f {
		delete(a.flights, path)
	}
	return f.outcome, f.err
}

func (a *Archiver) receipts(path string) walside.Receipts {
	return walside.Receipts{WALDir: filepath.Dir(path), For: a.For}
}

// join returns the flight of a file, and starts it where it isn't under way.
func (a *Archiver) join(ctx context.Context, path string, p walside.Print) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[path]; f != nil && f.print == p && !f.failed() {
		return f
	}
	if a.flights == nil {
		a.flights = map[string]*flight{}
		a.slots = make(chan struct{}, max(a.Workers, 1))
	}
	f := &flight{print: p, done: make(chan struct{})}
	a.flights[path] = f
	a.wg.Go(func() {
		defer close(f.done)
		select {
		case a.slots <- struct{}{}:
			defer func() { <-a.slots }()
			f.outcome, f.err = a.store(ctx, path)
		case <-ctx.Done():
			f.err = context.Cause(ctx)
		}
	})
	return f
}

// ahead starts on the files that will be asked for next. What can't be started isn't worth an error: it will be asked for.
func (a *Archiver) ahead(ctx context.Context, path string) {
	dir := filepath.Dir(path)
	left := a.Ahead
	for _, name := range Ready(dir) {
		next := filepath.Join(dir, name)
		if next == path {
			continue
		}
		if left--; left < 0 {
			return
		}
		st, err := os.Stat(next)
		if err != nil {
			continue
		}
		if p := walside.PrintOf(st); !a.receipts(next).Has(name, p) && !a.flying(next, p) {
			a.join(ctx, next, p)
		}
	}
}

// flying says whether a file is under way, or has been and nobody asked yet.
func (a *Archiver) flying(path string, p walside.Print) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.flights[path]
	return f != nil && f.print == p
}

// Finish ends an archiver that goes away: it gives what is under way a last moment, and leaves receipts of what was done
// unasked. Call it once, after Archive has returned.
func (a *Archiver) Finish(patience time.Duration, cancel context.CancelFunc) error {
	timer := time.AfterFunc(patience, cancel)
	a.wg.Wait()
	timer.Stop()
	var errs []error
	for path, f := range a.flights {
		if f.err == nil {
			errs = append(errs, a.receipts(path).Give(filepath.Base(path), f.print))
		}
	}
	return errors.Join(errs...)
}

// store makes one file durable.
func (a *Archiver) store(ctx context.Context, path string) (Outcome, error) {
	name := filepath.Base(path)
	buf, ok := a.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer a.buffers.Put(buf)
	data, err := readInto(*buf, path)
	if err != nil {
		return "", err
	}
	*buf = data
	var full error
	if a.Spool != nil {
		err := a.Spool.Add(a.Cluster, name, data, a.Codec)
		if !errors.Is(err, ErrSpoolFull) {
			return Spooled, err
		}
		full = err // then PostgreSQL has to wait for the repository
	}
	if _, err := a.Cluster.PushWAL(ctx, name, data, a.Codec); err != nil {
		return "", errors.Join(full, err)
	}
	return Stored, nil
}

// readInto reads a whole file into buf's memory where it fits.
func readInto(buf []byte, path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxSegment {
		return nil, fmt.Errorf("%s has %d bytes: more than a WAL file can have", path, st.Size())
	}
	if int64(cap(buf)) < st.Size() {
		buf = make([]byte, st.Size())
	}
	buf = buf[:st.Size()]
	for n := 0; n < len(buf); {
		k, err := f.Read(buf[n:])
		if n += k; err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return buf, nil
}
