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
	"syscall"
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
	Dir      string           `json:"dir"`
	Target   string           `json:"target"`
	Backup   string           `json:"backup"`
	Timeline backup.Timeline  `json:"timeline"`
	Reaches  *Point           `json:"reaches,omitempty"`
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

// Finished says whether nothing is left to be done.
func (o *Operation) Finished() bool { return !o.Ended.IsZero() }

// Running says whether a process is at work on it.
func (o *Operation) Running() bool {
	if o.Finished() || o.PID <= 0 {
		return false
	}
	err := syscall.Kill(o.PID, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
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
		return fmt.Sprintf("stopped at %q: %s", at.Do, o.Error)
	}
	return fmt.Sprintf("interrupted at %q", at.Do)
}

// NewOperationID names an operation by its time.
func NewOperationID(now time.Time) string { return "rs-" + now.UTC().Format("20060102T150405.000Z") }

// Operations keeps the records of restores in a folder.
type Operations struct{ Dir string }

func (s Operations) path(id string) string { return filepath.Join(s.Dir, id+".json") }

// Save writes a record durably: whole or not at all.
func (s Operations) Save(o *Operation) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("keep the restore's record: %w", err)
	}
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the restore's record: %w", err)
	}
	if err := WriteFile(s.path(o.ID), text, nil); err != nil {
		return fmt.Errorf("keep the restore's record: %w", err)
	}
	return os.Chmod(s.path(o.ID), 0o644)
}

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

// Hold lets one process at a time work on an operation. Fails with ErrAtWork while another does.
func (s Operations) Hold(id string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(s.Dir, id+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("hold restore %s: %w", id, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("restore %s: %w", id, ErrAtWork), f.Close())
	}
	return f.Close, nil
}

// ErrAtWork is wrapped when another process works on an operation.
var ErrAtWork = errors.New("another process is at work on it")
