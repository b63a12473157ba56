package recovery

import (
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/journal"
)

// BackupsRemoved is the kind of the events that tell what a person had removed from a repository; their data is a Removal.
const BackupsRemoved journal.Kind = "backup.removed"

// Removal is what backup expire did for a person.
type Removal struct {
	Repository string   `json:"repository"`
	Rules      string   `json:"rules"`   // what was to stay
	Backups    []string `json:"backups"` // that are gone; nil where it failed and that isn't known
	Kept       int      `json:"kept"`
	WAL        int      `json:"wal_files"`
	Bytes      int64    `json:"bytes"` // freed
	Host       string   `json:"host"`
	Failure    string   `json:"failure,omitempty"` // where it ended before its time: then what it freed isn't counted
}

// Describe says it in words.
func (r Removal) Describe() string {
	if r.Failure != "" {
		return fmt.Sprintf("removing backups from %s on %s (to keep: %s) FAILED, %s: %s", r.Repository, r.Host, r.Rules, r.reached(), r.Failure)
	}
	what := fmt.Sprintf("%d WAL files", r.WAL)
	switch len(r.Backups) {
	case 0:
	case 1:
		what = "backup " + r.Backups[0] + " and " + what
	default:
		what = "backups " + strings.Join(r.Backups, ", ") + " and " + what
	}
	return fmt.Sprintf("%s removed from %s on %s, %.1f MB freed, %d backups kept (by %s)", what, r.Repository, r.Host, float64(r.Bytes)/1e6, r.Kept, r.Rules)
}

// reached says how far a failed removal came.
func (r Removal) reached() string {
	switch {
	case r.Backups == nil:
		return "and which backups were removed by then isn't known"
	case len(r.Backups) == 0:
		return "with no backup removed by then"
	}
	return "with these removed by then: " + strings.Join(r.Backups, ", ")
}
