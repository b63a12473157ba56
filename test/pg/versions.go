package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Majors are the supported major versions, the oldest first.
var Majors = []int{14, 15, 16, 17, 18}

// BinOf returns the folder of a major version's binaries: those that scripts/setup-postgresql fetched, or the
// machine's. Where there are none the test is skipped.
func BinOf(tb testing.TB, major int) string {
	tb.Helper()
	_, self, _, _ := runtime.Caller(0)
	for _, bin := range []string{
		fmt.Sprintf("/var/cache/covet-test/postgresql/node_modules/pg%d/native/bin", major),
		filepath.Join(filepath.Dir(self), "../../.cache/postgresql/node_modules", fmt.Sprintf("pg%d/native/bin", major)),
		fmt.Sprintf("/usr/lib/postgresql/%d/bin", major),
	} {
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err == nil {
			return bin
		}
	}
	tb.Skipf("PostgreSQL %d is not here: scripts/setup-postgresql fetches it with npm", major)
	return ""
}
