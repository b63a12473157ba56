package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/restore"
)

// records finds restores: in the folder of this machine, beside a directory, and in the service's journal, where those are
// that others began elsewhere.
type records struct {
	host Host
	ops  restore.Operations
	dir  string // only those of this directory, where it isn't empty
}

// journalPatience bounds how long the journal is waited for where the records of this machine may be enough.
const journalPatience = 5 * time.Second

// all lists those of this machine, and the journal's that aren't over, the oldest first. A record that the journal knows
// better is the journal's.
func (r records) all(ctx context.Context) ([]*restore.Operation, error) {
	list, err := r.local()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	noted, err := r.host.noted(ctx)
	if err != nil {
		return list, nil //nolint:nilerr // a restore is also looked for where no service can be reached
	}
	return r.merged(list, noted), nil
}

// merged puts this machine's records and the journal's together.
func (r records) merged(list, noted []*restore.Operation) []*restore.Operation {
	for i, o := range list {
		if o.Noted && !o.Finished() && !o.Running() {
			list[i] = settled(o, noted)
		}
	}
	for _, n := range noted {
		if !slices.ContainsFunc(list, func(o *restore.Operation) bool { return o.ID == n.ID }) {
			list = append(list, newest(n))
		}
	}
	slices.SortFunc(list, func(a, b *restore.Operation) int { return a.Began.Compare(b.Began) })
	if r.dir != "" {
		list = slices.DeleteFunc(list, func(o *restore.Operation) bool { return o.Dir != r.dir })
	}
	return list
}

// local lists the records of this machine, with the one beside the directory that is asked for.
func (r records) local() ([]*restore.Operation, error) {
	list, err := r.ops.List()
	if err != nil || r.dir == "" {
		return list, err
	}
	beside, err := restore.Beside(r.dir)
	if err == nil && beside != nil && !slices.ContainsFunc(list, func(o *restore.Operation) bool { return o.ID == beside.ID }) {
		list = append(list, beside)
	}
	return list, err
}

// newest is a note of the journal, or what lies beside the directory on this machine where that has come further.
func newest(n *restore.Operation) *restore.Operation {
	if n.Elsewhere() {
		return n
	}
	if o, err := restore.Beside(n.Dir); err == nil && o != nil && o.ID == n.ID && doneOf(o) >= doneOf(n) {
		return o
	}
	return n
}

// settled is a record as the journal has it. One that it hasn't got any more was ended by somebody else; one in which this
// machine has come further is this machine's.
func settled(o *restore.Operation, noted []*restore.Operation) *restore.Operation {
	for _, n := range noted {
		if n.ID == o.ID {
			if n.Host != o.Host || doneOf(n) > doneOf(o) {
				return n
			}
			return o
		}
	}
	if o.Platform != platformCluster {
		return o // a journal that isn't there, or another service's: the file is the record
	}
	over := *o
	over.Ended, over.PID, over.Error = time.Now().UTC(), 0, "it was ended from elsewhere: covetctl audit tells by whom"
	return &over
}

func doneOf(o *restore.Operation) int {
	n := 0
	for _, s := range o.Steps {
		if s.State == restore.Done {
			n++
		}
	}
	return n
}

// find is the restore of the ID; the newest where it is empty. Fails with fs.ErrNotExist where there is none.
func (r records) find(ctx context.Context, id string) (*restore.Operation, error) {
	all, err := r.all(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range slices.Backward(all) {
		if id == "" || o.ID == id {
			return o, nil
		}
	}
	if id == "" {
		return nil, fmt.Errorf("there is no record of a restore: %w", fs.ErrNotExist)
	}
	return nil, fmt.Errorf("there is no record of restore %s (covetctl restore status --all lists them): %w", id, fs.ErrNotExist)
}

// unfinished finds the restore that is meant, which must not be over: the newest where none is named.
func (r records) unfinished(ctx context.Context, args []string) (*restore.Operation, error) {
	if len(args) > 0 {
		o, err := r.find(ctx, args[0])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &exitError{err, 1}
		case err == nil && o.Finished():
			return nil, &exitError{fmt.Errorf("restore %s is finished: %s", o.ID, o.Describe()), 1}
		}
		return o, err
	}
	all, err := r.all(ctx)
	for _, o := range slices.Backward(all) {
		if !o.Finished() {
			return o, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, &exitError{errors.New("every restore that was begun is finished: covetctl restore status --all lists them"), 1}
}

// mustBeFree refuses a restore that takes the service along while another isn't over, or one of the same directory.
func (r records) mustBeFree(ctx context.Context, dir string, withService bool) error {
	all, err := r.all(ctx)
	if err != nil {
		return err
	}
	beside, err := restore.Beside(dir)
	if err != nil {
		return err
	}
	if beside != nil && !slices.ContainsFunc(all, func(o *restore.Operation) bool { return o.ID == beside.ID }) {
		all = append(all, beside)
	}
	for _, o := range slices.Backward(all) {
		if !o.Finished() && (o.Dir == dir && !o.Elsewhere() || withService && o.Service != "") {
			return open(o)
		}
	}
	return nil
}

// open is the error of a restore that must be ended first.
func open(o *restore.Operation) error {
	return &exitError{fmt.Errorf("restore %s of %s is not finished (%s). %s\ncovetctl restore resume %s goes on with it, covetctl restore abandon %s gives it up",
		o.ID, o.Dir, o.Describe(), left(o), o.ID, o.ID), exitLocked}
}
