package recovery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// Facts are what a repository holds of one service's database.
type Facts struct {
	At         time.Time
	Repository string
	Service    string
	System     backup.SystemID // 0: no backup yet
	Heads      []backup.Head   // the oldest first
	Damaged    error           // what can't be read of it
	Verified   map[string]backup.Verified
	Coverage   []restore.Span
	Gaps       []restore.Gap
	Durable    *restore.Durable
	Archive    Archive
	Drills     []backup.DrillResult // the oldest first
	Attempts   map[Kind][]backup.Attempt
	Spool      *backup.SpoolState // of this machine; nil: it has none
}

// Archive is the size of the archived log.
type Archive struct {
	Segments int   `json:"segments"`
	Bytes    int64 `json:"bytes"`
}

func (f Facts) sizes() map[string]int64 {
	out := make(map[string]int64, len(f.Heads))
	for _, h := range f.Heads {
		out[h.ID] = h.Bytes
	}
	return out
}

// attemptsSeen is how many past attempts of each kind are looked at.
const attemptsSeen = 10

// Look reads what a repository holds. Where the service has had several database systems it looks at the one with the newest
// backup, unless system says which.
func Look(ctx context.Context, r backup.Repository, service string, system backup.SystemID, now time.Time) (Facts, error) {
	f := Facts{At: now, Repository: r.Where, Service: service, System: system, Attempts: map[Kind][]backup.Attempt{}}
	for _, k := range Kinds() {
		attempts, err := r.Attempts(ctx, service, string(k), attemptsSeen)
		if err = f.unread(err); err != nil {
			return f, err
		}
		f.Attempts[k] = attempts
	}
	ids := []backup.SystemID{system}
	if system == 0 {
		var err error
		if ids, err = r.Systems(ctx, service); err != nil {
			return f, err
		}
	}
	for _, id := range ids {
		heads, err := r.Cluster(service, id).Backups(ctx)
		if err != nil && !errors.Is(err, backup.ErrDamaged) {
			return f, err
		}
		if len(heads) == 0 {
			f.Damaged = errors.Join(f.Damaged, err)
			continue
		}
		if len(f.Heads) == 0 || heads[len(heads)-1].Stopped.After(f.Heads[len(f.Heads)-1].Stopped) {
			f.System, f.Heads, f.Damaged = id, heads, err
		}
	}
	if len(f.Heads) == 0 {
		return f, nil
	}
	return f, f.read(ctx, r.Cluster(service, f.System))
}

// read fills in what belongs to the cluster.
func (f *Facts) read(ctx context.Context, c backup.Cluster) error {
	size := f.Heads[0].SegmentSize
	archived, err := c.Archived(ctx, size)
	if err != nil {
		return err
	}
	for _, segs := range archived.Segments {
		f.Archive.Segments += len(segs)
		for _, s := range segs {
			f.Archive.Bytes += s.Size
		}
	}
	f.Verified, err = c.Verified(ctx)
	if err = f.unread(err); err != nil {
		return err
	}
	sound := f.sound()
	var unreachable *restore.UnreachableError
	if f.Coverage, err = restore.Coverage(sound, archived); err != nil && !errors.As(err, &unreachable) {
		return err
	}
	if f.Gaps, err = restore.Gaps(f.Heads, archived); err != nil {
		f.Damaged = errors.Join(f.Damaged, err)
	}
	facts := func(ctx context.Context, s backup.Segment, next *backup.Segment) (backup.Facts, error) {
		return c.Facts(ctx, s, next, size)
	}
	f.Durable, err = restore.Newest(ctx, sound, archived, facts)
	if err != nil && !errors.As(err, &unreachable) {
		f.Damaged = errors.Join(f.Damaged, err)
		if !errors.Is(err, backup.ErrDamaged) {
			return err
		}
	}
	f.Drills, err = c.Drills(ctx)
	return f.unread(err)
}

// unread takes down what is damaged; everything else that keeps the repository from being read is returned.
func (f *Facts) unread(err error) error {
	if errors.Is(err, backup.ErrDamaged) {
		f.Damaged = errors.Join(f.Damaged, err)
		return nil
	}
	return err
}

// sound are the backups that no verification has found damaged: only they promise anything.
func (f *Facts) sound() []backup.Head {
	return slices.DeleteFunc(slices.Clone(f.Heads), func(h backup.Head) bool { return len(f.Verified[h.ID].Damage) > 0 })
}

// lastDrill is the newest; nil where there was none.
func (f Facts) lastDrill() *backup.DrillResult {
	if n := len(f.Drills); n > 0 {
		return &f.Drills[n-1]
	}
	return nil
}

// last is the newest attempt of a kind; nil where there was none.
func (f Facts) last(k Kind) *backup.Attempt {
	if n := len(f.Attempts[k]); n > 0 {
		return &f.Attempts[k][n-1]
	}
	return nil
}

// failures is how many of the newest attempts of a kind failed in a row.
func (f Facts) failures(k Kind) int {
	n := 0
	for _, a := range slices.Backward(f.Attempts[k]) {
		if a.OK {
			break
		}
		n++
	}
	return n
}
