package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Logical is what a head says of a logical backup.
type Logical struct {
	DumpVersion int      `json:"dump_version"` // of the pg_dump that made it, as PGVersion: 150018
	Databases   []Dumped `json:"databases"`
	Globals     bool     `json:"globals"` // all databases were dumped, and the roles and tablespaces too
	// Filters are those that pg_dump was given, as it was: --table=orders. None: the databases are there whole.
	Filters []string `json:"filters,omitempty"`
}

// Dumped is one database of a logical backup. Its pieces are those whose path begins with its number, from 1, and a slash.
type Dumped struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Tables int    `json:"tables"` // with data
}

// Scope tells logical backups of different things apart: only those of the same stand in for each other.
func (l *Logical) Scope() string {
	names := []string{"all databases"}
	if l.Globals { // which those are may change
		return strings.Join(append(names, l.Filters...), " ")
	}
	names = nil
	for _, d := range l.Databases {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ") + strings.Join(append([]string{""}, l.Filters...), " ")
}

// logicalPart is where a cluster's logical backups are, with packs and locks of their own: what looks for base backups
// never sees them.
const logicalPart = "logical/"

// LogicalBackups is the part of the repository that holds the cluster's logical backups. It has no WAL.
func (c Cluster) LogicalBackups() Cluster {
	c.part = logicalPart
	return c
}

func (c Cluster) logical() bool { return c.part == logicalPart }

// DumpSink takes a logical backup's pieces, one after the other.
type DumpSink interface {
	// Begin ends the piece before and begins another.
	Begin(path string) error
	// Write appends to the present piece.
	io.Writer
	// Expect says how many bytes are still to come, about.
	Expect(more int64)
}

// Dumper makes the content of a logical backup.
type Dumper interface {
	// Dump writes all pieces, and says what they are.
	Dump(ctx context.Context, to DumpSink) (*Logical, error)
}

// LogicalJob is one logical backup to be made.
type LogicalJob struct {
	Repository Repository
	Service    string
	Origin     Origin
	Dumper     Dumper
	Codec      Codec
	Label      string
	Total      int64 // bytes to come, about: decides how much is compressed at once
	Workers    int   // that compress; 0: one a CPU
	Report     func(Progress)
	Warn       func(error)
}

// RunLogical makes a logical backup. When it returns a head, the backup is complete and durable. When it fails there is
// no backup, and what was stored of it is removed; where that fails too, the next expiry does it.
func RunLogical(ctx context.Context, j LogicalJob) (h Head, err error) {
	if err := CheckService(j.Service); err != nil {
		return h, err
	}
	c := j.Repository.Cluster(j.Service, j.Origin.System).LogicalBackups()
	id := newID(j.Origin.Time)
	lock, err := c.lock(ctx, id)
	if err != nil {
		return h, err
	}
	r := &run{c: c, meter: newMeter(j.Report)}
	r.Job = Job{Repository: j.Repository, Service: j.Service, Origin: j.Origin, Codec: j.Codec, Label: j.Label, Workers: j.Workers, Warn: j.Warn}
	r.m = &Manifest{Head: Head{
		Format: FormatVersion, ID: id, Service: j.Service, System: j.Origin.System, PGVersion: j.Origin.PGVersion, Label: j.Label,
		Started: j.Origin.Time.UTC(), Codec: j.Codec.Name(), EncryptedFor: j.Repository.Sealer.recipients(),
	}}
	err = r.logical(ctx, j, lock)
	if err != nil {
		err = errors.Join(err, c.abandon(ctx, id))
	}
	if err := lock.release(ctx); err != nil { // it expires by itself
		r.warn(fmt.Errorf("remove the backup's lock: %w", err))
	}
	if err != nil {
		return h, err
	}
	r.meter.phase("done")
	return r.m.Head, nil
}

// logical copies everything and writes the manifest.
func (r *run) logical(ctx context.Context, j LogicalJob, lock *heldLock) error {
	if err := r.ownKey(); err != nil {
		return err
	}
	if err := r.dump(ctx, j); err != nil {
		return err
	}
	r.meter.phase("manifest")
	if err := r.present(ctx); err != nil {
		return err
	}
	if err := lock.held(); err != nil {
		return err
	}
	if err := r.c.mark(ctx); err != nil {
		return err
	}
	if err := r.c.writeManifest(ctx, r.m, j.Codec); err != nil {
		return fmt.Errorf("store the manifest: %w", err)
	}
	return nil
}

// dump takes the pieces into packs.
func (r *run) dump(ctx context.Context, j LogicalJob) error {
	began := time.Now()
	workers := j.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	r.meter.p.Total = j.Total
	r.meter.phase("dump")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	codec := r.c.Sealer.sealing(j.Codec, false, nil)
	p := &pipeline{codec: codec, meter: r.meter, workers: workers, unit: unitSize(j.Total), spaces: &r.m.Head, packer: newPacker(ctx, r.c, codec, r.m.ID)}
	err := p.run(ctx, func(ctx context.Context) (err error) {
		sink := &dumpSink{ctx: ctx, p: p}
		if r.m.Logical, err = j.Dumper.Dump(ctx, sink); err != nil {
			return err
		}
		if err := sink.end(); err != nil {
			return err
		}
		return p.send(ctx, sink.s)
	})
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	if err := p.assemble(r.m); err != nil {
		return err
	}
	h := &r.m.Head
	h.Stopped, h.Files, h.StoredBytes = h.Started.Add(time.Since(began)), len(r.m.Items), p.packer.stored.Load()
	for _, f := range r.m.Items {
		h.Bytes += f.Size
	}
	h.ReadBytes = h.Bytes
	r.meter.p.Total = r.meter.p.Done // it was an estimate
	return nil
}

// abandon removes what a failed logical backup has stored: nobody else refers to it. It does so also when the work was
// interrupted.
func (c Cluster) abandon(ctx context.Context, id string) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	if _, err := c.head(ctx, c.manifestKey(id)); !errors.Is(err, ErrNotFound) {
		return err // its answer was lost, but it is there
	}
	keys, err := c.Repository.keys(ctx, c.packKey(id+"-"))
	if err == nil {
		err = c.Store.Delete(ctx, keys...)
	}
	if err != nil {
		return fmt.Errorf("remove what was stored of it, which the next expiry will do: %w", err)
	}
	return nil
}

// dumpSink puts pieces into slabs, one after the other.
type dumpSink struct {
	ctx context.Context //nolint:containedctx // of the one dump that it is for
	p   *pipeline
	s   *slab // that is being filled
}

// Begin implements DumpSink.
func (w *dumpSink) Begin(path string) error {
	if !validPath(path) {
		return fmt.Errorf("%q is no path in a backup", path)
	}
	if err := w.end(); err != nil {
		return err
	}
	w.p.files = append(w.p.files, File{Path: path, Mode: 0o600, ModTime: w.p.spaces.Started})
	w.p.begin()
	return nil
}

// end ends the present piece, if there is one.
func (w *dumpSink) end() error {
	if len(w.p.files) == 0 {
		return nil
	}
	return w.p.end(len(w.p.files) - 1)
}

// Expect implements DumpSink.
func (w *dumpSink) Expect(more int64) { w.p.meter.p.Total = w.p.meter.p.Done + more }

// Write implements DumpSink.
func (w *dumpSink) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		if w.s == nil {
			var err error
			if w.s, err = w.p.newSlab(w.ctx); err != nil {
				return 0, err
			}
		}
		n := min(len(b), cap(w.s.buf)-len(w.s.buf))
		if n == 0 {
			if err := w.p.send(w.ctx, w.s); err != nil {
				return 0, err
			}
			w.s = nil
			continue
		}
		w.append(b[:n])
		b = b[n:]
	}
	w.p.meter.add(written, w.p.packer.stored.Load())
	return written, nil
}

// append adds bytes of the present piece to the slab.
func (w *dumpSink) append(b []byte) {
	file := len(w.p.files) - 1
	f, at := &w.p.files[file], len(w.s.buf)
	w.s.buf = append(w.s.buf, b...)
	if n := len(w.s.parts); n > 0 && w.s.parts[n-1].file == file {
		w.s.parts[n-1].n += len(b)
	} else {
		w.s.parts = append(w.s.parts, part{file: file, off: f.Size, at: at, n: len(b)})
	}
	f.Size += int64(len(b))
	w.p.grow(file, len(b))
}
