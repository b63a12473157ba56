package backup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readyMark ends the names by which PostgreSQL notes in pg_wal/archive_status what is to be archived.
const readyMark = ".ready"

// Ready lists the files of a pg_wal folder that PostgreSQL wants archived, in the order in which it will ask for them:
// histories first, then by name. A folder that isn't a server's has none.
func Ready(walDir string) []string {
	entries, err := os.ReadDir(filepath.Join(walDir, "archive_status"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), readyMark)
		if !ok {
			continue
		}
		if _, err := ParseWALFile(name); err == nil {
			names = append(names, name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

func rank(name string) int {
	if strings.HasSuffix(name, ".history") {
		return 0
	}
	return 1
}
