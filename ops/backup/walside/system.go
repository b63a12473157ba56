package walside

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// System is the identifier of the cluster in a data directory, in decimal: the first eight bytes of pg_control.
func System(dataDir string) (string, error) {
	f, err := os.Open(filepath.Join(dataDir, "global", "pg_control"))
	if err != nil {
		return "", err
	}
	var b [8]byte
	_, err = f.ReadAt(b[:], 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return strconv.FormatUint(binary.LittleEndian.Uint64(b[:]), 10), nil
}
