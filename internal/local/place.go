package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Place is what covetd leaves in its data directory about itself, for a covetctl that finds it dead.
type Place struct {
	Service     string `json:"service"`
	Environment string `json:"environment"`
	Version     string `json:"version"`
	Socket      string `json:"socket"`
	PID         int    `json:"pid"`
}

func placePath(dataDir string) string { return filepath.Join(dataDir, "covetd.json") }

// WritePlace stores it, whole or not at all.
func WritePlace(dataDir string, p Place) error {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encode what covetd says of itself: %w", err)
	}
	return writeWhole(placePath(dataDir), append(raw, '\n'))
}

// ReadPlace reads it. A data directory that no covetd has used yet gives the zero Place.
func ReadPlace(dataDir string) (Place, error) {
	var p Place
	raw, err := os.ReadFile(placePath(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read what covetd says of itself: %w", err)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("read %s: %w", placePath(dataDir), err)
	}
	return p, nil
}
