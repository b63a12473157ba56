package local

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

func repositoryPath(dataDir string) string { return filepath.Join(dataDir, "repository.json") }

// WriteRepository keeps by which settings covetd finds the backups, so that a covetctl that finds it dead does too. Nothing
// secret belongs into it.
func WriteRepository(dataDir string, settings map[string]string) error {
	raw, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return fmt.Errorf("encode where the backups are: %w", err)
	}
	return writeWhole(repositoryPath(dataDir), append(raw, '\n'))
}

// ReadRepository reads what WriteRepository wrote; nothing where it never did.
func ReadRepository(dataDir string) (map[string]string, error) {
	return readWhole[map[string]string](repositoryPath(dataDir))
}
