package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// BesidePath is where the record of a directory's newest restore is found by whoever comes upon the directory.
func BesidePath(dir string) string { return filepath.Clean(dir) + ".covet-restore.json" }

// Beside reads the record beside a directory; nil where there is none.
func Beside(dir string) (*Operation, error) {
	text, err := os.ReadFile(BesidePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record beside %s: %w", dir, err)
	}
	var o Operation
	if err := json.Unmarshal(text, &o); err != nil || o.ID == "" {
		return nil, fmt.Errorf("the record of a restore in %s cannot be read (%w): look at what it says, and remove it", BesidePath(dir), err)
	}
	return &o, nil
}

// Save writes a record durably: whole or not at all. One that takes a service along is kept in the folder, where whoever
// operates the service looks, with a link beside the directory; any other is kept beside the directory, with a link in the
// folder. Where a place can't be written to, the other one has to do.
func (s Operations) Save(o *Operation) error {
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the restore's record: %w", err)
	}
	at, err := filepath.EvalSymlinks(s.path(o.ID))
	if err == nil {
		err = writeRecord(at, text)
	} else {
		err = s.create(o, text)
	}
	if err != nil {
		return fmt.Errorf("keep the restore's record: %w", err)
	}
	return nil
}

// create writes a record for the first time.
func (s Operations) create(o *Operation, text []byte) error {
	s.makeRoom(o)
	folder := os.MkdirAll(s.Dir, 0o755)
	inside, beside := s.path(o.ID), BesidePath(o.Dir)
	if o.Service == "" {
		if err := os.MkdirAll(filepath.Dir(beside), 0o755); err == nil {
			if writeRecord(beside, text) == nil {
				_ = link(beside, inside) // it is found beside the directory all the same
				return nil
			}
		}
	}
	if folder != nil {
		return folder
	}
	if err := writeRecord(inside, text); err != nil {
		return err
	}
	_ = link(inside, beside) // it is found in the folder all the same
	return nil
}

// makeRoom brings the record of an earlier restore of the same directory into the folder, where it is history.
func (s Operations) makeRoom(o *Operation) {
	info, err := os.Lstat(BesidePath(o.Dir))
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	old, err := Beside(o.Dir)
	if err != nil || old == nil || old.ID == o.ID || old.ID != filepath.Base(old.ID) {
		return
	}
	if text, err := json.MarshalIndent(old, "", "  "); err == nil {
		_ = writeRecord(s.path(old.ID), text) // history that can't be kept holds nothing up
	}
}

func writeRecord(path string, text []byte) error {
	if err := WriteFile(path, text, nil); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}

// link makes a symbolic link, in the place of what is there.
func link(to, at string) error {
	temp := at + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(to, temp); err != nil {
		return err
	}
	return os.Rename(temp, at)
}
