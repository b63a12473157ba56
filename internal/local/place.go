package local

import (
	"encoding/json"
	"fmt"
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
	return readWhole[Place](placePath(dataDir))
}
