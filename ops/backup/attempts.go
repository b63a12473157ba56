package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Attempt is one run of a scheduled job, kept in the repository: whoever looks next knows what was done, and what wasn't.
type Attempt struct {
	ID    string    `json:"id"`
	Kind  string    `json:"kind"` // backup, expire, verify or drill
	Slot  time.Time `json:"slot"` // when it was due
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	Host  string    `json:"host"`
	OK    bool      `json:"ok"`
	Says  string    `json:"says"` // what came of it, or why nothing did
}

// attemptsKept is how long attempts are remembered; the newest of each kind stays.
const attemptsKept = 90 * 24 * time.Hour

func attemptPrefix(service, kind string) string { return service + "/runs/" + kind + "/" }

// SaveAttempt keeps an attempt; its ID is set from its time.
func (r Repository) SaveAttempt(ctx context.Context, service string, a *Attempt) error {
	a.ID = newID(a.Began)
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("save the attempt: %w", err)
	}
	return r.Store.Put(ctx, attemptPrefix(service, a.Kind)+a.ID, bytes.NewReader(text), PutOptions{IfAbsent: true})
}

// Attempts lists the newest attempts of a kind, at most limit, the oldest first. Those that are damaged are left out and joined into
// the error as ErrDamaged: the list is then still good.
func (r Repository) Attempts(ctx context.Context, service, kind string, limit int) ([]Attempt, error) {
	keys, err := r.keys(ctx, attemptPrefix(service, kind))
	if err != nil {
		return nil, err
	}
	out, damaged, err := readAllJSON[Attempt](ctx, r.Store, keys[max(len(keys)-limit, 0):])
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Attempt) int { return a.Began.Compare(b.Began) }) // IDs of one second sort at random
	return out, damaged
}

// PruneAttempts forgets the attempts of a kind that are older than 90 days, but never the newest.
func (r Repository) PruneAttempts(ctx context.Context, service, kind string, now time.Time) error {
	prefix := attemptPrefix(service, kind)
	keys, err := r.keys(ctx, prefix)
	if err != nil || len(keys) == 0 {
		return err
	}
	before := prefix + now.Add(-attemptsKept).UTC().Format("20060102T150405Z")
	n, _ := slices.BinarySearch(keys[:len(keys)-1], before)
	return r.Store.Delete(ctx, keys[:n]...)
}

// keys lists the keys that begin with prefix, ascending.
func (r Repository) keys(ctx context.Context, prefix string) ([]string, error) {
	var out []string
	for o, err := range r.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		out = append(out, o.Key)
	}
	return out, nil
}

// readJSON reads one small object.
func readJSON[T any](ctx context.Context, s Store, key string) (T, error) {
	var v T
	text, err := ReadAll(ctx, s, key, 1<<20)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	return v, nil
}

// readAllJSON reads small objects, of which some may be gone meanwhile. Damaged ones are left out, and told apart from what
// keeps the others from being read.
func readAllJSON[T any](ctx context.Context, s Store, keys []string) (out []T, damaged, err error) {
	out = []T{}
	for _, key := range keys {
		v, err := readJSON[T](ctx, s, key)
		switch {
		case errors.Is(err, ErrNotFound):
		case errors.Is(err, ErrDamaged):
			damaged = errors.Join(damaged, err)
		case err != nil:
			return nil, nil, err
		default:
			out = append(out, v)
		}
	}
	return out, damaged, nil
}

// Verified is a verification that was kept.
type Verified struct {
	ID     string    `json:"id"` // of the backup, or LogID
	At     time.Time `json:"at"`
	Took   Elapsed   `json:"took"`
	Bytes  int64     `json:"bytes"` // read
	Damage []string  `json:"damage"`
}

// SaveVerified keeps what a verification found.
func (c Cluster) SaveVerified(ctx context.Context, v Verified) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save the verification: %w", err)
	}
	return c.Store.Put(ctx, c.key("verified", v.ID, newID(v.At)), bytes.NewReader(text), PutOptions{IfAbsent: true})
}

// Verified returns the newest verification of each backup that has one, and of the log by LogID. Those that are damaged are left out
// and joined into the error as ErrDamaged: the rest is then still good.
func (c Cluster) Verified(ctx context.Context) (map[string]Verified, error) {
	prefix := c.key("verified") + "/"
	keys, err := c.keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	newest := map[string]string{}
	for _, key := range keys { // ascending: the last of a backup is its newest
		id, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		newest[id] = key
	}
	all, damaged, err := readAllJSON[Verified](ctx, c.Store, slices.Sorted(maps.Values(newest)))
	if err != nil {
		return nil, err
	}
	out := map[string]Verified{}
	for _, v := range all {
		out[v.ID] = v
	}
	return out, damaged
}

// dropVerified forgets the verifications of backups that are gone, and all but the newest of the others.
func (c Cluster) dropVerified(ctx context.Context, e *Expiry, keep []Head) error {
	prefix := c.key("verified") + "/"
	keys, err := c.keys(ctx, prefix)
	if err != nil {
		return err
	}
	kept := map[string]bool{LogID: true}
	for _, h := range keep {
		kept[h.ID] = true
	}
	var drop []string
	for i, key := range keys {
		id, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		superseded := i+1 < len(keys) && strings.HasPrefix(keys[i+1], prefix+id+"/")
		if !kept[id] || superseded {
			drop = append(drop, key)
		}
	}
	return c.remove(ctx, e, drop)
}

// Stalest chooses what to verify: the newest backup, and the n of the others that were verified longest ago, or never; all
// where n is 0.
func Stalest(heads []Head, verified map[string]Verified, n int) []string {
	var ids []string
	for _, h := range heads {
		ids = append(ids, h.ID)
	}
	if n <= 0 || len(ids) <= n+1 {
		return ids
	}
	others := ids[:len(ids)-1]
	slices.SortStableFunc(others, func(a, b string) int { return verified[a].At.Compare(verified[b].At) })
	return append([]string{ids[len(ids)-1]}, others[:n]...)
}
