package local

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Whatever has become of the file, opening it is an error in words: never a panic, never a fault, never half a history.
func TestADamagedJournalIsSaidToBeSo(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(raw []byte) []byte{
		"not a journal":    func(raw []byte) []byte { return []byte(strings.Repeat("no journal at all ", len(raw)/18)) },
		"cut short":        func(raw []byte) []byte { return raw[:len(raw)/4+100] },
		"cut to its heads": func(raw []byte) []byte { return raw[:2*os.Getpagesize()+1000] },
		"overwritten pages": func(raw []byte) []byte {
			for i := 2 * os.Getpagesize(); i < len(raw); i++ {
				raw[i] ^= 0xa5
			}
			return raw
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := journalWithPast(t)
			raw, err := os.ReadFile(JournalPath(dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(JournalPath(dir), damage(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = OpenJournal(dir, time.Second)
			if !errors.Is(err, ErrJournalDamaged) || !strings.Contains(err.Error(), JournalPath(dir)) {
				t.Errorf("got %v, want ErrJournalDamaged and the file's name", err)
			}
		})
	}
}

// journalWithPast is a data directory whose journal has some hundred events.
func journalWithPast(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	j, err := OpenJournal(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var events []journal.Event
	for range 300 {
		events = append(events, journal.New(time.Now(), "test", "test.event", strings.Repeat("x", 200), nil))
	}
	if _, err := j.Append(t.Context(), 0, events...); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}
