package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile writes a small file durably: whole or not at all.
func WriteFile(path string, data []byte, o *Owner) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(data))
	if o != nil && err == nil {
		err = f.Chown(o.UID, o.GID)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// Configure makes the server in a restored directory recover: it writes the settings and the signal file.
func Configure(dir string, settings []Setting, o *Owner) error {
	conf := filepath.Join(dir, "postgresql.auto.conf")
	old, err := os.ReadFile(conf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configure recovery: %w", err)
	}
	if err := WriteFile(conf, []byte(AutoConf(string(old), settings)), o); err != nil {
		return fmt.Errorf("configure recovery: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "standby.signal")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configure recovery: %w", err)
	}
	if err := WriteFile(filepath.Join(dir, "recovery.signal"), nil, o); err != nil {
		return fmt.Errorf("configure recovery: %w", err)
	}
	return nil
}
