package local

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/covetpy/covet/ops/recovery"
)

func positionsPath(dataDir string) string { return filepath.Join(dataDir, "positions.json") }

// WritePositions keeps where a database's log was seen to be.
func WritePositions(dataDir string, seen []recovery.Position) error {
	raw, err := json.Marshal(seen)
	if err != nil {
		return fmt.Errorf("encode the database's positions: %w", err)
	}
	return writeWhole(positionsPath(dataDir), raw)
}

// ReadPositions reads what WritePositions wrote; nothing where it never did.
func ReadPositions(dataDir string) ([]recovery.Position, error) {
	return readWhole[[]recovery.Position](positionsPath(dataDir))
}
