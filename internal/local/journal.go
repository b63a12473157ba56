// Package local is the platform of one machine: covetd's own workers and balancer behind the interfaces of ops/rollout, and
// the journal in covetd's data directory.
package local

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/covetpy/covet/ops/journal"
)

// ErrJournalBusy is what OpenJournal returns when another process has the journal.
var ErrJournalBusy = errors.New("the journal is in use by another process (a running covetd)")

var eventsBucket = []byte("events")

// Journal keeps events in one file with an exclusive lock, synced to disk before an append returns. It implements
// journal.Journal.
type Journal struct{ db *bolt.DB }

// JournalPath is where a data directory keeps its journal.
func JournalPath(dataDir string) string { return filepath.Join(dataDir, "journal.db") }

// OpenJournal opens or creates the journal of a data directory. It waits for the lock up to the time given, then fails with
// ErrJournalBusy; with ErrJournalDamaged where the file cannot be read to its end.
func OpenJournal(dataDir string, wait time.Duration) (*Journal, error) {
	if err := os.MkdirAll(dataDir, 0o750); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	path := JournalPath(dataDir)
	var j *Journal
	err := guarded(path, func() (err error) {
		j, err = openStore(path, wait)
		return err
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

func openStore(path string, wait time.Duration) (*Journal, error) {
	db, err := bolt.Open(path, 0o640, &bolt.Options{Timeout: max(wait, time.Millisecond), FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: %w", path, ErrJournalBusy)
	}
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(eventsBucket)
		return err
	})
	if err == nil {
		err = scan(db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the journal %s: %w", path, err), db.Close())
	}
	return &Journal{db: db}, nil
}

// Close lets go of the journal's lock.
func (j *Journal) Close() error { return j.db.Close() }

// Append implements journal.Journal.
func (j *Journal) Append(ctx context.Context, after journal.Seq, events ...journal.Event) (journal.Seq, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	last := after
	err := j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(eventsBucket)
		if journal.Seq(b.Sequence()) != after {
			return journal.ErrConflict
		}
		for _, e := range events {
			last++
			e.Seq = last
			raw, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encode event %d (%s): %w", e.Seq, e.Kind, err)
			}
			if err := b.Put(key(last), raw); err != nil {
				return err
			}
		}
		return b.SetSequence(uint64(last))
	})
	if err != nil {
		return 0, err
	}
	return last, nil
}

// Read implements journal.Journal.
func (j *Journal) Read(ctx context.Context, from journal.Seq) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		err := j.db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(eventsBucket).Cursor()
			for k, v := c.Seek(key(from)); k != nil; k, v = c.Next() {
				if err := ctx.Err(); err != nil {
					return err
				}
				var e journal.Event
				if err := json.Unmarshal(v, &e); err != nil {
					return fmt.Errorf("event %d cannot be read: %w", binary.BigEndian.Uint64(k), err)
				}
				if !yield(e, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(journal.Event{}, err)
		}
	}
}

func key(s journal.Seq) []byte { return binary.BigEndian.AppendUint64(nil, uint64(s)) }
