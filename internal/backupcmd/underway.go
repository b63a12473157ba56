package backupcmd

import (
	"cmp"
	"slices"

	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
)

// UnderWay are the restores that aren't over, by the records of this machine and the notes of a service's journal: each as it
// really is, as far as that can be seen from here. A journal can't know that the process at work has died.
func (h Host) UnderWay(noted []rollout.Restoring) []rollout.Restoring {
	var known []*restore.Operation
	for _, n := range noted {
		if o := operationOf(n); o != nil {
			known = append(known, o)
		}
	}
	r := records{host: h, ops: h.operations("")}
	list, err := r.local()
	if err != nil {
		list = nil // what the journal knows is all that is known
	}
	out := []rollout.Restoring{}
	for _, o := range r.merged(list, known) {
		if !o.Finished() {
			out = append(out, asSeen(o))
		}
	}
	return slices.Clip(out)
}

// asSeen is a restore in the words of a journal's note.
func asSeen(o *restore.Operation) rollout.Restoring {
	n := rollout.Restoring{ID: o.ID, Place: o.Dir, Host: o.Host, Target: o.Target, State: rollout.RestoreRuns, By: o.By, Began: o.Began}
	if s := o.Current(); s != nil {
		n.Step, n.At = s.Do, s.Began
	}
	if o.Elsewhere() && o.Error == "" || o.Running() {
		return n
	}
	n.State = rollout.RestoreStands
	n.Says = cmp.Or(o.Error, "the process that worked on it is gone") + ". " + left(o)
	return n
}
