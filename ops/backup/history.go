package backup

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Fork is one line of a timeline's history: up to End the log is that of Timeline.
type Fork struct {
	Timeline Timeline
	End      LSN
}

// History is where a timeline comes from: its ancestors, the oldest first, without itself. Timeline 1 has none.
type History []Fork

// ParseHistory reads a .history file.
func ParseHistory(data []byte) (History, error) {
	var h History
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("timeline history: line %q has no LSN", lines.Text())
		}
		n, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("timeline history: %q is not a timeline", fields[0])
		}
		end, err := ParseLSN(fields[1])
		if err != nil {
			return nil, fmt.Errorf("timeline history: %w", err)
		}
		if k := len(h); k > 0 && (h[k-1].Timeline >= Timeline(n) || h[k-1].End > end) {
			return nil, fmt.Errorf("timeline history: line %q is out of order", lines.Text())
		}
		h = append(h, Fork{Timeline(n), end})
	}
	return h, lines.Err()
}

// At is the timeline whose log is followed at an LSN, on the way to the timeline that the history belongs to.
func (h History) At(own Timeline, at LSN) Timeline {
	for _, f := range h {
		if at < f.End {
			return f.Timeline
		}
	}
	return own
}

// Has says whether a position reached on timeline t lies on the way to the timeline that the history belongs to.
func (h History) Has(own, t Timeline, at LSN) bool {
	if t == own {
		return len(h) == 0 || at >= h[len(h)-1].End
	}
	for i, f := range h {
		if f.Timeline == t {
			return at <= f.End && (i == 0 || at >= h[i-1].End)
		}
	}
	return false
}
