package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Sweeper is a Store that can remove what writers which died left behind.
type Sweeper interface {
	Sweep(ctx context.Context, before time.Time) error
}

// Expiry is what an expiry removes.
type Expiry struct {
	Decisions []Decision `json:"backups"`
	Packs     []string   `json:"packs"`
	PackBytes int64      `json:"pack_bytes"`
	WAL       int        `json:"wal_files"`
	WALBytes  int64      `json:"wal_bytes"`
	// Locked are the objects that were to go, and that their store protects: they go once it doesn't.
	Locked      []string  `json:"locked,omitempty"`
	LockedUntil time.Time `json:"locked_until,omitzero"`
	// Waiting names running backups and restores: while there are any, no pack is removed, since they may need it.
	Waiting []string `json:"waiting_for,omitempty"`
}

// Nothing says whether there is nothing to remove.
func (e *Expiry) Nothing() bool {
	return len(e.Packs)+e.WAL == 0 && !slices.ContainsFunc(e.Decisions, func(d Decision) bool { return !d.Keep })
}

// Expire removes the backups that the policy doesn't keep, then the packs and the WAL that no backup needs any longer.
// With dryRun it only says what it would do. It may be interrupted and run again at any time, beside running backups.
func (c Cluster) Expire(ctx context.Context, p Policy, now time.Time, dryRun bool) (*Expiry, error) {
	if p.Empty() {
		return nil, errors.New("expire: the policy has no rules")
	}
	heads, err := c.Backups(ctx)
	if err != nil { // a damaged manifest may name packs that must stay
		return nil, fmt.Errorf("expire: nothing was removed: %w", err)
	}
	if len(heads) == 0 {
		return &Expiry{}, nil
	}
	e, err := c.decided(ctx, p.Decide, heads, now)
	if err != nil {
		return nil, fmt.Errorf("expire: nothing was removed: %w", err)
	}
	keep, err := c.expireBackups(ctx, e, now, dryRun)
	if err != nil {
		return e, err
	}
	if err := c.expireWAL(ctx, e, keep, now, dryRun); err != nil {
		return e, fmt.Errorf("expire WAL: %w", err)
	}
	return e, c.tidy(ctx, e, keep, now, dryRun)
}

// ExpireLogical removes the logical backups that the policy doesn't keep, and their packs. They are counted apart from the
// base backups, and those of different databases or tables apart from each other.
func (c Cluster) ExpireLogical(ctx context.Context, p Policy, now time.Time, dryRun bool) (*Expiry, error) {
	if p.Empty() {
		return nil, errors.New("expire: the policy has no rules")
	}
	c = c.LogicalBackups()
	heads, err := c.Backups(ctx)
	if err != nil {
		return nil, fmt.Errorf("expire logical backups: nothing was removed: %w", err)
	}
	e, err := c.decided(ctx, p.DecideLogical, heads, now)
	if err != nil {
		return nil, fmt.Errorf("expire logical backups: nothing was removed: %w", err)
	}
	keep, err := c.expireBackups(ctx, e, now, dryRun)
	if err != nil {
		return e, err
	}
	return e, c.tidy(ctx, e, keep, now, dryRun)
}

// decided applies a policy to backups, of which those that were found damaged and those that are being read are told apart.
func (c Cluster) decided(ctx context.Context, decide func([]Head, map[string]bool, time.Time) []Decision, heads []Head, now time.Time) (*Expiry, error) {
	damaged, err := c.foundDamaged(ctx)
	if err != nil {
		return nil, err
	}
	locks, err := c.Locks(ctx, now)
	if err != nil {
		return nil, err
	}
	return &Expiry{Decisions: spare(decide(heads, damaged, now), locks)}, nil
}

// spare keeps what is being read, and what a server that was restored from it has yet to replay the log of.
func spare(all []Decision, locks []Lock) []Decision {
	for i := range all {
		d := &all[i]
		var left []Lock
		for _, l := range locks {
			why := "it is being restored on " + l.Host
			switch {
			case l.Reads != d.Head.ID:
			case !l.Until.IsZero():
				left = append(left, l)
			case !slices.Contains(d.Reason, why):
				d.Keep, d.Reason = true, append(d.Reason, why)
			}
		}
		if len(left) > 0 {
			d.Keep, d.Reason = true, append(d.Reason, needsLog(left))
		}
	}
	return all
}

// needsLog says until when servers that were restored may need the log.
func needsLog(left []Lock) string {
	last := slices.MaxFunc(left, func(a, b Lock) int { return a.Until.Compare(b.Until) })
	who := "a server restored from it on " + last.Host
	if len(left) > 1 {
		who = fmt.Sprintf("%d servers restored from it, the last on %s,", len(left), last.Host)
	}
	return who + " may need its log until " + last.Until.Format(time.RFC3339)
}

// foundDamaged are the backups that were found damaged when they were last read back.
func (c Cluster) foundDamaged(ctx context.Context) (map[string]bool, error) {
	verified, err := c.Verified(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) { // a record that can't be read says nothing
		return nil, err
	}
	out := map[string]bool{}
	for id, v := range verified {
		if len(v.Damage) > 0 {
			out[id] = true
		}
	}
	return out, nil
}

// Add takes what another expiry removed.
func (e *Expiry) Add(o *Expiry) {
	e.Decisions = append(e.Decisions, o.Decisions...)
	e.Packs, e.PackBytes = append(e.Packs, o.Packs...), e.PackBytes+o.PackBytes
	e.Locked, e.Waiting = append(e.Locked, o.Locked...), append(e.Waiting, o.Waiting...)
	if o.LockedUntil.After(e.LockedUntil) {
		e.LockedUntil = o.LockedUntil
	}
}

// expireBackups removes the manifests that were decided to go, and then the packs that nobody needs any longer. It returns
// the backups that are left.
func (c Cluster) expireBackups(ctx context.Context, e *Expiry, now time.Time, dryRun bool) (keep []Head, err error) {
	var drop []string
	for _, d := range e.Decisions {
		if d.Keep {
			keep = append(keep, d.Head)
		} else {
			drop = append(drop, c.manifestKey(d.Head.ID))
		}
	}
	if !dryRun {
		if err := c.remove(ctx, e, drop); err != nil {
			return nil, fmt.Errorf("expire: %w", err)
		}
		if keep, err = c.Backups(ctx); err != nil { // those that are locked are there still
			return nil, fmt.Errorf("expire: %w", err)
		}
	}
	if err := c.expirePacks(ctx, e, keep, now, dryRun); err != nil {
		return nil, fmt.Errorf("expire packs: %w", err)
	}
	return keep, nil
}

// tidy removes what only belonged to backups that are gone, or that died.
func (c Cluster) tidy(ctx context.Context, e *Expiry, keep []Head, now time.Time, dryRun bool) error {
	if dryRun {
		return nil
	}
	if err := c.dropVerified(ctx, e, keep); err != nil {
		return fmt.Errorf("expire verifications: %w", err)
	}
	if err := c.dropDeadLocks(ctx, e, now); err != nil {
		return fmt.Errorf("expire locks: %w", err)
	}
	if s, ok := c.Store.(Sweeper); ok {
		if err := s.Sweep(ctx, now.Add(-48*time.Hour)); err != nil {
			return fmt.Errorf("expire: %w", err)
		}
	}
	return nil
}

// expirePacks removes the packs that no backup names. The order makes it safe beside a backup that begins or ends
// meanwhile: packs are listed before locks, and a backup locks before it writes or looks at the others; manifests are
// read last, so that one that has just ended is among them.
func (c Cluster) expirePacks(ctx context.Context, e *Expiry, keep []Head, now time.Time, dryRun bool) error {
	var packs []Object
	for o, err := range c.Store.List(ctx, c.key("packs")+"/") {
		if err != nil {
			return err
		}
		packs = append(packs, o)
	}
	locks, err := c.Locks(ctx, now)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Until.IsZero() { // who only needs the log reads no packs
			e.Waiting = append(e.Waiting, l.String())
		}
	}
	if len(e.Waiting) > 0 {
		return nil
	}
	if !dryRun {
		if keep, err = c.Backups(ctx); err != nil {
			return err
		}
	}
	used := map[string]bool{}
	for _, h := range keep {
		needs, err := c.packsOf(ctx, h.ID)
		if err != nil {
			return err
		}
		for _, p := range needs {
			used[p.Name] = true
		}
	}
	var drop []string
	for _, o := range packs {
		if name := path.Base(o.Key); !used[name] {
			e.Packs = append(e.Packs, name)
			e.PackBytes += o.Size
			drop = append(drop, o.Key)
		}
	}
	if dryRun {
		return nil
	}
	return c.remove(ctx, e, drop)
}

// remove deletes, and notes what is locked.
func (c Cluster) remove(ctx context.Context, e *Expiry, keys []string) error {
	err := c.Store.Delete(ctx, keys...)
	var locked *LockedError
	if !errors.As(err, &locked) {
		return err
	}
	e.Locked = append(e.Locked, locked.Keys...)
	if locked.Until.After(e.LockedUntil) {
		e.LockedUntil = locked.Until
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 1 {
		return err // not only that
	}
	return nil
}

// expireWAL removes the log before the oldest kept backup, of all timelines: no kept backup can need it. Histories stay, and so does
// everything where somebody has begun meanwhile to read a backup that is gone: its packs are there still.
func (c Cluster) expireWAL(ctx context.Context, e *Expiry, keep []Head, now time.Time, dryRun bool) error {
	locks, err := c.Locks(ctx, now)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(locks, func(l Lock) bool {
		return l.Reads != "" && !slices.ContainsFunc(keep, func(h Head) bool { return h.ID == l.Reads })
	}) {
		return nil
	}
	oldest := keep[0].FirstSegment().No
	for _, h := range keep {
		oldest = min(oldest, h.FirstSegment().No)
	}
	var drop []string
	for o, err := range c.Store.List(ctx, c.key("wal")+"/") {
		if err != nil {
			return err
		}
		name := path.Base(o.Key)
		base, rest, _ := strings.Cut(name, ".")
		if rest == "history" {
			continue
		}
		s, err := ParseSegment(base, keep[0].SegmentSize)
		if err != nil || s.No >= oldest {
			continue
		}
		e.WAL++
		e.WALBytes += o.Size
		drop = append(drop, o.Key)
	}
	if dryRun {
		return nil
	}
	return c.remove(ctx, e, drop)
}
