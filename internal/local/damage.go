package local

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrJournalDamaged is what OpenJournal returns when the journal's file is there and is not what was written.
var ErrJournalDamaged = errors.New("the journal is damaged: restore journal.db from a copy, or move it away to begin anew without " +
	"history, then start covetd with APP_COMMAND and APP_VERSION of the release that is to serve")

// guarded makes what the store does with a damaged file an error: it panics over pages that make no sense, and reads of a
// file that was cut short fault. The store is of no more use then, and keeps its lock until the process ends.
func guarded(path string, use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if _, fault := p.(runtime.Error); fault {
			p = "pages are missing"
		}
		if p != nil {
			err = fmt.Errorf("%w (%s: %v)", ErrJournalDamaged, path, p)
		}
	}()
	err = use()
	for _, damage := range []error{bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w (%s: %w)", ErrJournalDamaged, path, err)
		}
	}
	return err
}

// scan touches every event, so that damage is found before anything is done by the journal.
func scan(db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(eventsBucket).ForEach(func(_, v []byte) error {
			if len(v) == 0 {
				return bolterrors.ErrInvalid
			}
			return nil
		})
	})
}
