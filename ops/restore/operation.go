package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// StepState is how far one step of an operation is.
type StepState string

// The states.
const (
	Pending StepState = "pending"
	Doing   StepState = "running"
	Done    StepState = "done"
	Failed  StepState = "failed"
)

// Step is one step of an operation.
type Step struct {
	Name  string    `json:"name"`
	Do    string    `json:"do"` // in words
	State StepState `json:"state"`
	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	Says  string    `json:"says,omitempty"` // what came of it
}

// Operation is a restore at work, as it is kept in a file: whoever takes it up knows what is done already.
type Operation struct {
	ID       string           `json:"id"`
	Args     []string         `json:"args"` // of covetctl restore
	Host     string           `json:"host"` // of the directory
	Dir      string           `json:"dir"`
	Service  string           `json:"service,omitempty"`  // ENVIRONMENT/SERVICE that is stopped meanwhile; empty: none is
	Platform string           `json:"platform,omitempty"` // that the service runs on
	Noted    bool             `json:"noted,omitempty"`    // the service's journal knows of it
	Target   string           `json:"target"`
	Backup   string           `json:"backup"`
	Timeline backup.Timeline  `json:"timeline"`
	Reaches  *Point           `json:"reaches,omitempty"`
	Replay   Replay           `json:"replay"`
	Loss     backup.Elapsed   `json:"loss"`
	Release  string           `json:"release,omitempty"` // that is to serve afterwards; empty: the one before
	By       string           `json:"by"`
	Reason   string           `json:"reason,omitempty"`
	PID      int              `json:"pid"` // of the process at work
	Began    time.Time        `json:"began"`
	Ended    time.Time        `json:"ended,omitzero"`
	Steps    []Step           `json:"steps"`
	Progress *backup.Progress `json:"progress,omitempty"` // of the step under way
	Error    string           `json:"error,omitempty"`    // why it stands still
	Dropped  bool             `json:"dropped,omitempty"`  // a person gave it up
}

// Replay is the log that is replayed at the most.
type Replay struct {
	From backup.LSN `json:"from"`
	To   backup.LSN `json:"to"`
}

// Finished says whether nothing is left to be done.
func (o *Operation) Finished() bool { return !o.Ended.IsZero() }

// Running says whether a process of this machine is at work on it.
func (o *Operation) Running() bool {
	return !o.Finished() && o.PID > 0 && !o.Elsewhere() && atWork(o.Dir, o.PID)
}

// Elsewhere says whether the directory is another machine's, whose processes can't be seen from here.
func (o *Operation) Elsewhere() bool {
	return o.Host != "" && o.Host != ThisHost()
}

// Step finds a step by its name.
func (o *Operation) Step(name string) *Step {
	for i := range o.Steps {
		if o.Steps[i].Name == name {
			return &o.Steps[i]
		}
	}
	return &Step{Name: name}
}

// Current is the first step that isn't done; nil where all are.
func (o *Operation) Current() *Step {
	for i := range o.Steps {
		if o.Steps[i].State != Done {
			return &o.Steps[i]
		}
	}
	return nil
}

// Describe says in a line where it stands.
func (o *Operation) Describe() string {
	at := o.Current()
	switch {
	case o.Dropped:
		return "given up"
	case o.Finished():
		return "done"
	case at == nil:
		return "done but for its record"
	case o.Running():
		return "at work: " + at.Do
	case o.Error != "":
		return fmt.Sprintf("stopped at: %s: %s", at.Do, o.Error)
	case o.Elsewhere():
		return fmt.Sprintf("at work on %s when it was last heard of: %s", o.Host, at.Do)
	}
	return "interrupted at: " + at.Do
}

// NewOperationID names an operation by its time.
func NewOperationID(now time.Time) string { return "rs-" + now.UTC().Format("20060102T150405.000Z") }

// Operations keeps the records of restores in a folder.
type Operations struct{ Dir string }

func (s Operations) path(id string) string { return filepath.Join(s.Dir, id+".json") }

// Load reads a record; an empty id means the newest. Fails with fs.ErrNotExist where there is none.
func (s Operations) Load(id string) (*Operation, error) {
	if id == "" {
		all, err := s.List()
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("there is no record of a restore in %s: %w", s.Dir, fs.ErrNotExist)
		}
		return all[len(all)-1], nil
	}
	if id != filepath.Base(id) {
		return nil, fmt.Errorf("%q is not the id of a restore", id)
	}
	text, err := os.ReadFile(s.path(id))
	if err != nil {
		return nil, fmt.Errorf("read the record of restore %s: %w", id, err)
	}
	var o Operation
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("read the record of restore %s: %w", id, err)
	}
	if o.ID != id { // the directory has been restored anew since
		return nil, fmt.Errorf("the record of restore %s: %w", id, fs.ErrNotExist)
	}
	return &o, nil
}

// List reads all records, the oldest first. One that can't be read is left out.
func (s Operations) List() ([]*Operation, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the restores' records: %w", err)
	}
	var out []*Operation
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if o, err := s.Load(id); err == nil {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Operation) int { return a.Began.Compare(b.Began) })
	return out, nil
}

// Unfinished is the newest operation that isn't finished; nil where all are.
func (s Operations) Unfinished() (*Operation, error) {
	all, err := s.List()
	for _, o := range slices.Backward(all) {
		if !o.Finished() {
			return o, nil
		}
	}
	return nil, err
}
