package kube

import (
	"testing"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/journal/journaltest"
)

func TestJournalConforms(t *testing.T) {
	w := newWorld(t)
	journaltest.Conform(t, func() journal.Journal { return newJournal(w.client, "web") })
}
