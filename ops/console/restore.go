package console

import (
	"context"
	"fmt"
	"slices"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// maxRestoreNote bounds what a note of a restore, or of a removal, may write into the journal at once.
const maxRestoreNote = 64 << 10

// restoreStates are those that a restore may be noted in.
var restoreStates = []rollout.RestoreState{rollout.RestoreRuns, rollout.RestoreStands, rollout.RestoreDone, rollout.RestoreDropped}

// noteRestore writes into the journal how a restore of the service's database gets on.
func (d *Desk) noteRestore(_ context.Context, _ rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[rollout.Restoring](body)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case in.ID == "" || !slices.Contains(restoreStates, in.State):
		return nil, nil, fail(CodeUsage, "", "the note of a restore needs its id, and one of the states %v", restoreStates)
	case len(body) > maxRestoreNote:
		return nil, nil, fail(CodeUsage, "", "the note of restore %s has %d bytes, of the %d that the journal takes", in.ID, len(body), maxRestoreNote)
	}
	return []journal.Event{journal.New(d.now(), who, rollout.RestoreNoted, in.ID, in)}, Ack{Message: "noted"}, nil
}

func sayRestore(e journal.Event) string {
	r := decoded[rollout.Restoring](e)
	what := fmt.Sprintf("restore of %s on %s to %s", r.Place, r.Host, r.Target)
	switch r.State {
	case rollout.RestoreRuns:
		return because(what, r.Step)
	case rollout.RestoreStands:
		return because(fmt.Sprintf("%s STOPPED at: %s", what, r.Step), r.Says)
	}
	return because(what+" "+string(r.State), r.Says)
}
