package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/covetpy/covet/ops/health"
)

// writeWhole replaces a file, whole or not at all, also when the machine dies meanwhile.
func writeWhole(path string, content []byte) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(temp.Name())))
	}
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

func pastPath(dataDir string) string { return filepath.Join(dataDir, "requests.json") }

func writePast(dataDir string, p health.Past) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the requests of the last days: %w", err)
	}
	return writeWhole(pastPath(dataDir), raw)
}

func readPast(dataDir string) (health.Past, error) {
	return readWhole[health.Past](pastPath(dataDir))
}

// readWhole reads what writeWhole wrote as JSON. A file that is not there gives the zero value.
func readWhole[T any](path string) (T, error) {
	var v, zero T
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return zero, nil
	}
	if err != nil {
		return zero, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return zero, fmt.Errorf("read %s: %w", path, err)
	}
	return v, nil
}
