package console

import (
	"context"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/rollout"
)

// noteRemoval writes into the journal what a person had removed from the backup repository.
func (d *Desk) noteRemoval(_ context.Context, _ rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[recovery.Removal](body)
	if err != nil {
		return nil, nil, err
	}
	if in.Repository == "" || len(body) > maxRestoreNote {
		return nil, nil, fail(CodeUsage, "", "the note of a removal needs the repository, and may have %d bytes; it has %d", maxRestoreNote, len(body))
	}
	return []journal.Event{journal.New(d.now(), who, recovery.BackupsRemoved, in.Repository, in)}, Ack{Message: "noted"}, nil
}
