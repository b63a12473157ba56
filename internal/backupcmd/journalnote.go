package backupcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
)

// note writes a restore into the journal of the service that is found here.
func (h Host) note(ctx context.Context, o *restore.Operation) error {
	if h.Service == nil {
		return errors.New("no service is known here")
	}
	return h.withPort(ctx, func(p console.Port) error { return noteIn(ctx, p, o) })
}

// noteIn writes a restore into a service's journal.
func noteIn(ctx context.Context, p console.Port, o *restore.Operation) error {
	bare := *o
	bare.Progress = nil
	record, err := json.Marshal(bare)
	if err != nil {
		return fmt.Errorf("note restore %s: %w", o.ID, err)
	}
	n := rollout.Restoring{
		ID: o.ID, Place: o.Dir, Host: o.Host, Target: o.Target, Record: record, Says: o.Error,
		State: restoreState(o.Error != "", o.Finished(), o.Dropped),
	}
	if s := o.Current(); s != nil {
		n.Step = s.Do
	}
	var ack console.Ack
	return p.Do(ctx, console.NoteRestore, n, &ack)
}

// noted are the restores that the service's journal knows of and that aren't over.
func (h Host) noted(ctx context.Context) (out []*restore.Operation, err error) {
	if h.Service == nil {
		return nil, nil
	}
	var notes []rollout.Restoring
	err = h.withPort(ctx, func(p console.Port) error { return p.Ask(ctx, console.GetRestores, console.Query{}, &notes) })
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		if o := operationOf(n); o != nil {
			out = append(out, o)
		}
	}
	return out, nil
}

// operationOf is the record in a note; nil where it is none that this program knows to read.
func operationOf(n rollout.Restoring) *restore.Operation {
	var o restore.Operation
	if err := json.Unmarshal(n.Record, &o); err != nil || o.ID != n.ID {
		return nil
	}
	return &o
}

// tell writes a note into the journal of the service that is found here, if any. What it is about doesn't depend on it: that it
// can't be written is said, and no failure.
func (h Host) tell(ctx context.Context, errs io.Writer, op console.Op, note any, what string) {
	if h.Service == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notePatience)
	defer cancel()
	err := h.withPort(ctx, func(p console.Port) error {
		var ack console.Ack
		return p.Do(ctx, op, note, &ack)
	})
	if err != nil && !errors.Is(err, errOpening) {
		_, _ = fmt.Fprintf(errs, "warning: %s could not be noted in the service's journal: %v\n", what, err)
	}
}
