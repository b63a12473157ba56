package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Job is one base backup to be made.
type Job struct {
	Repository Repository
	Service    string
	Origin     Origin
	Source     Source
	WAL        WALSource
	Codec      Codec
	Label      string
	Full       bool // store everything anew, refer to no earlier backup
	Workers    int  // that compress; 0: one a CPU
	// WaitWAL is how long to wait for the archiver to deliver the backup's last segments before they are taken from
	// the server.
	WaitWAL time.Duration
	Report  func(Progress)
	// Required are files without which there is no backup, whatever the source says; a folder, with a slash at its end, must hold one.
	Required []string
	// Warn gets what doesn't make the backup fail, but should be known.
	Warn func(error)
}

// Run makes a base backup. When it returns a head, the backup is complete: everything that restoring it needs, WAL
// included, is durable in the repository. When it fails there is no backup, and what was stored of it is removed by the
// next expiry.
func Run(ctx context.Context, j Job) (h Head, err error) {
	if err := CheckService(j.Service); err != nil {
		return h, err
	}
	meter := newMeter(j.Report)
	c := j.Repository.Cluster(j.Service, j.Origin.System)
	id := newID(j.Origin.Time)
	lock, err := c.lock(ctx, id)
	if err != nil {
		return h, err
	}
	r := &run{Job: j, c: c, meter: meter}
	defer func() {
		if err := lock.release(ctx); err != nil { // it expires by itself
			r.warn(fmt.Errorf("remove the backup's lock: %w", err))
		}
	}()
	prev, err := r.previous(ctx)
	if err != nil {
		return h, err
	}
	meter.phase("checkpoint")
	start, err := r.start(ctx, id, prev)
	if err != nil {
		return h, err
	}
	if err := r.copy(ctx, prev, start.Total); err != nil {
		return h, err
	}
	meter.phase("wal")
	if err := r.ensureWAL(ctx); err != nil {
		return h, err
	}
	meter.phase("manifest")
	if err := r.present(ctx); err != nil {
		return h, err
	}
	if err := lock.held(); err != nil {
		return h, err
	}
	if err := c.mark(ctx); err != nil {
		return h, err
	}
	if err := c.writeManifest(ctx, r.m, j.Codec); err != nil {
		return h, fmt.Errorf("store the manifest: %w", err)
	}
	meter.phase("done")
	return r.m.Head, nil
}

// start begins the backup on the server, and its manifest.
func (r *run) start(ctx context.Context, id string, prev *previous) (Start, error) {
	var old *Manifest
	if prev != nil {
		old = prev.m
	}
	s, err := r.Source.Start(ctx, old)
	if err != nil {
		return s, fmt.Errorf("start the backup: %w", err)
	}
	if s.System != r.Origin.System {
		return s, fmt.Errorf("start the backup: the server has another database now, system %s", s.System)
	}
	r.m = &Manifest{Head: headOf(r.Job, id, s)}
	if old != nil {
		r.m.Previous, r.m.FullRead = old.ID, s.FullRead
	}
	return s, r.ownKey()
}

// newID names a backup after its time; the random end keeps two of one second apart.
func newID(t time.Time) string {
	return t.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:4])
}

func headOf(j Job, id string, s Start) Head {
	return Head{
		Format: FormatVersion, ID: id, Service: j.Service, System: s.System, PGVersion: s.PGVersion, Label: j.Label,
		Started: s.Time.UTC(), Timeline: s.Timeline, StartLSN: s.LSN, SegmentSize: s.SegmentSize, Checksums: s.Checksums,
		Codec: j.Codec.Name(), Tablespaces: s.Tablespaces, EncryptedFor: j.Repository.Sealer.recipients(), Directory: s.Directory,
	}
}

// run is a job at work.
type run struct {
	Job
	c     Cluster
	meter *meter
	m     *Manifest
}

// ownKey puts the key that the backup's packs are encrypted with into the manifest, where they are.
func (r *run) ownKey() error {
	if !r.c.Sealer.active() {
		return nil
	}
	k, err := r.c.Sealer.ownKey()
	if err != nil {
		return err
	}
	r.m.keys = []packKey{{r.m.ID, k.id, k.secret}}
	return nil
}

func (r *run) warn(err error) {
	if r.Warn != nil {
		r.Warn(err)
	}
}

// copy moves the files into packs and ends the backup on the server.
func (r *run) copy(ctx context.Context, prev *previous, total int64) error {
	workers := r.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	r.meter.p.Total = total
	r.meter.phase("copy")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	codec := r.c.Sealer.sealing(r.Codec, false, nil)
	p := &pipeline{
		src: r.Source, codec: codec, prev: prev, meter: r.meter, workers: workers, unit: unitSize(total), spaces: &r.m.Head,
		packer: newPacker(ctx, r.c, codec, r.m.ID),
	}
	if err := p.run(ctx, p.read); err != nil {
		return fmt.Errorf("copy the files: %w", err)
	}
	stop, err := r.Source.Stop()
	if err != nil {
		return fmt.Errorf("end the backup on the server: %w", err)
	}
	if stop.Timeline != r.m.Timeline {
		return fmt.Errorf("the server went from timeline %d to %d during the backup: run it again", r.m.Timeline, stop.Timeline)
	}
	if err := p.assemble(r.m); err != nil {
		return err
	}
	if prev != nil {
		r.m.takeKeys(prev.m)
	}
	if err := r.complete(); err != nil {
		return err
	}
	h := &r.m.Head
	h.StopLSN, h.Stopped, h.Files = stop.LSN, stop.Time.UTC(), len(r.m.Items)
	h.StoredBytes, h.ReadBytes = p.packer.stored.Load(), p.bytesRead
	for _, f := range r.m.Items {
		h.Bytes += f.Size
	}
	return nil
}

// complete fails where the source had no file that is required: one that looked in the wrong place yields a backup of nothing.
func (r *run) complete() error {
	for _, want := range r.Required {
		dir := strings.HasSuffix(want, "/")
		if !slices.ContainsFunc(r.m.Items, func(f File) bool {
			return f.Space == 0 && f.Type == TypeFile && (f.Path == want || dir && strings.HasPrefix(f.Path, want))
		}) {
			return fmt.Errorf("the data directory has no %s, or it lies behind a symbolic link: no server could start from this backup, so it is none", want)
		}
	}
	return nil
}

func unitSize(total int64) int {
	if total > largeCluster {
		return largeUnitSize
	}
	return UnitSize
}

// previous picks the newest backup that unchanged chunks can be taken from; nil where there is none.
func (r *run) previous(ctx context.Context) (*previous, error) {
	if r.Full {
		return nil, nil
	}
	heads, err := r.c.Backups(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("look for the previous backup: %w", err)
	}
	if err != nil {
		r.warn(err)
	}
	verified, err := r.c.Verified(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("look for the previous backup: %w", err)
	}
	for i := len(heads) - 1; i >= 0; i-- {
		if v := verified[heads[i].ID]; len(v.Damage) > 0 {
			r.warn(fmt.Errorf("backup %s was found damaged, and nothing of it is used: %s", heads[i].ID, v.Damage[0]))
			continue
		}
		if heads[i].PGVersion/10000 != r.Origin.PGVersion/10000 {
			continue
		}
		if encrypted := len(heads[i].EncryptedFor) > 0; encrypted != r.c.Sealer.active() {
			r.warn(fmt.Errorf("everything is stored anew: backup %s %s, this one %s", heads[i].ID, crypted(encrypted), crypted(!encrypted)))
			return nil, nil
		}
		m, err := r.c.Manifest(ctx, heads[i].ID)
		if err == nil {
			err = r.c.present(ctx, m)
		}
		switch {
		case err == nil:
			return newPrevious(r.c, m, r.warn), nil
		case sealed(err):
			r.warn(fmt.Errorf("everything is stored anew, since unchanged pages can't be told: %w", err))
			return nil, nil
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("read the previous backup: %w", err)
		}
		r.warn(err)
	}
	return nil, nil
}

func crypted(yes bool) string {
	if yes {
		return "is encrypted"
	}
	return "is not encrypted"
}

// takeKeys takes the keys of the earlier packs that are referred to.
func (m *Manifest) takeKeys(from *Manifest) {
	used := map[string]bool{}
	for _, p := range m.Packs {
		used[p.Backup()] = true
	}
	for _, k := range from.keys {
		if used[k.backup] {
			m.keys = append(m.keys, k)
		}
	}
}

// ensureWAL returns when every segment from the backup's start to its end is in the repository: the archiver brought
// it, or it was taken from the server.
func (r *run) ensureWAL(ctx context.Context) error {
	first, last := r.m.FirstSegment(), r.m.LastSegment()
	size := r.m.SegmentSize
	deadline := time.Now().Add(r.WaitWAL)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		missing, err := r.c.missing(ctx, first, last, size)
		if err != nil {
			return fmt.Errorf("look for the backup's WAL: %w", err)
		}
		if len(missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			if err := r.takeWAL(ctx, missing[0], last); err != nil {
				return fmt.Errorf("the backup needs WAL segment %s, which isn't in %s: %w", missing[0].Name(size), r.c.Where, err)
			}
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if first.Timeline == 1 {
		return nil
	}
	history, err := r.WAL.History(ctx, first.Timeline)
	if err != nil {
		return fmt.Errorf("read the history of timeline %d: %w", first.Timeline, err)
	}
	_, err = r.c.PushWAL(ctx, first.Timeline.String()+".history", history, r.Codec)
	return err
}

// present checks that every pack that the manifest is going to name is in the repository, with the right size.
func (r *run) present(ctx context.Context) error {
	if err := r.c.present(ctx, r.m); err != nil {
		return fmt.Errorf("%w: run covetctl backup verify, and this backup again with --full", err)
	}
	return nil
}

// present fails with ErrDamaged where a pack that a backup refers to isn't there as it was written, as far as its size tells.
func (c Cluster) present(ctx context.Context, m *Manifest) error {
	sizes := map[string]int64{}
	prefix := c.key("packs") + "/"
	for o, err := range c.Store.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("look for the backup's packs: %w", err)
		}
		sizes[strings.TrimPrefix(o.Key, prefix)] = o.Size
	}
	for _, p := range m.Packs {
		if size, ok := sizes[p.Name]; !ok || size != p.Size {
			return fmt.Errorf("%w: pack %s, which backup %s refers to, has %d bytes in %s instead of %d", ErrDamaged, p.Name, m.ID, size, c.Where, p.Size)
		}
	}
	return nil
}

func (r *run) takeWAL(ctx context.Context, first, last Segment) error {
	debug.FreeOSMemory() // what the copy held: a segment is in memory whole
	return r.WAL.Segments(ctx, first, last, func(name string, data []byte) error {
		_, err := r.c.PushWAL(ctx, name, data, r.Codec)
		return err
	})
}
