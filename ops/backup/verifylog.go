package backup

import (
	"context"
	"errors"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// LogID stands for the archived log where a backup's ID is expected: in a Verification, and in what is kept of it.
const LogID = "wal"

// logReaders bounds how many files of the log are read at once: each takes a segment's memory.
const logReaders = 4

// Log checks the archived log from a segment's number on, of all timelines, and every history: each file is read and decompressed, its
// checksum and its headers are looked at. Segments have size bytes. What is missing is not its matter: restore.Gaps finds that.
func (v *Verifier) Log(ctx context.Context, size int64, from uint64, report func(Progress)) (*Verification, error) {
	files, err := v.logFiles(ctx, size, from)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := &logCheck{files: files, meter: newMeter(report), cancel: cancel, out: Verification{ID: LogID, Damage: []string{}}}
	for _, o := range files {
		l.meter.p.Total += o.Size
	}
	l.meter.phase("verify WAL")
	var readers sync.WaitGroup
	for range min(logReaders, runtime.NumCPU()) {
		readers.Go(func() {
			r := &WALReader{Cluster: v.c}
			for o, ok := l.next(ctx); ok; o, ok = l.next(ctx) {
				l.count(o, readLog(ctx, r, path.Base(o.Key)))
			}
		})
	}
	readers.Wait()
	slices.Sort(l.out.Damage)
	return &l.out, context.Cause(ctx)
}

// logFiles lists what Log is to read.
func (v *Verifier) logFiles(ctx context.Context, size int64, from uint64) ([]Object, error) {
	var out []Object
	for o, err := range v.c.Store.List(ctx, v.c.key("wal")+"/") {
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(path.Base(o.Key), liveMark)
		if _, err := ParseWALFile(name); err != nil {
			continue // something else put there: not ours to judge
		}
		first, _, _ := strings.Cut(name, ".")
		s, err := ParseSegment(first, size)
		if err != nil || s.No >= from { // a history; or what belongs to a segment
			out = append(out, o)
		}
	}
	return out, nil
}

// readLog reads one file of the log.
func readLog(ctx context.Context, r *WALReader, name string) error {
	if whole, _, live := strings.Cut(name, liveMark); live {
		_, err := r.Cluster.FetchWAL(ctx, whole) // which is there whole by now, or not
		return err
	}
	if f, err := ParseWALFile(name); err == nil && f.Kind == WALHistory {
		_, err := r.Cluster.history(ctx, name)
		return err
	}
	file, err := r.Read(ctx, name)
	if err == nil {
		_, err = file.WriteTo(io.Discard)
	}
	return err
}

// logCheck is a check of the log under way.
type logCheck struct {
	mu     sync.Mutex
	files  []Object // yet to be read
	meter  *meter
	cancel context.CancelCauseFunc
	out    Verification
}

// next takes a file to read.
func (l *logCheck) next(ctx context.Context) (o Object, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) == 0 || ctx.Err() != nil {
		return o, false
	}
	o, l.files = l.files[0], l.files[1:]
	return o, true
}

// count takes down how reading a file went.
func (l *logCheck) count(o Object, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, ErrNotFound):
		return // it expired meanwhile
	case errors.Is(err, ErrDamaged):
		l.out.Damage = append(l.out.Damage, found(err))
	case err != nil:
		l.cancel(err)
		return
	}
	l.out.Bytes += o.Size
	l.out.Segments++
	l.meter.add(int(o.Size), 0)
}
