package backup_test

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

func TestETA(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total int64
		want        time.Duration
	}{
		{50, 100, 10 * time.Second}, {100, 100, 0}, {120, 100, 0}, {50, 0, -1},
		{272, 33_600_000, -1}, // a rate of nothing says nothing
	} {
		p := backup.Progress{Done: c.done, Total: c.total, Elapsed: 10 * time.Second}
		if got := p.ETA(); got != c.want {
			t.Errorf("%d of %d: %v, want %v", c.done, c.total, got, c.want)
		}
	}
}
