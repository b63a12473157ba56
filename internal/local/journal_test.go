package local

import (
	"errors"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/journal/journaltest"
)

func TestJournalConforms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var open *Journal
	journaltest.Conform(t, func() journal.Journal {
		if open != nil {
			if err := open.Close(); err != nil {
				t.Fatal(err)
			}
		}
		j, err := OpenJournal(dir, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		open = j
		return j
	})
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	m := &journaltest.Memory{}
	journaltest.Conform(t, func() journal.Journal { return m })
}

func TestASecondProcessIsToldThatTheJournalIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := OpenJournal(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(dir, 10*time.Millisecond); !errors.Is(err, ErrJournalBusy) {
		t.Fatalf("second open: %v, want ErrJournalBusy", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
