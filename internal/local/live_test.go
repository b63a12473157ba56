package local

import (
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/workers"
)

// A release that writes too much is no full disk: whoever reads it at night must not go and look for one.
func TestLogProblemsNameTheirCause(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	flood := workers.LogLoss{Flooded: 93_031, FloodedAt: now.Add(-time.Minute), FloodedBy: "v1.1.0"}
	full := workers.LogLoss{Unwritten: 7, UnwrittenAt: now.Add(-time.Minute)}
	for name, tt := range map[string]struct {
		loss workers.LogLoss
		now  time.Time
		want []string
	}{
		"none":           {workers.LogLoss{}, now, nil},
		"flood":          {flood, now, []string{"release v1.1.0 writes more log than is kept: 93031 lines"}},
		"full disk":      {full, now, []string{"7 log lines of instances could not be written: is the disk full?"}},
		"long ago":       {flood, now.Add(logNews), nil},
		"disk, long ago": {full, now.Add(logNews), nil},
	} {
		got := logProblems(tt.loss, tt.now)
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tt.want[i]) {
				t.Errorf("%s: got %q, want %q", name, got[i], tt.want[i])
			}
		}
	}
}
